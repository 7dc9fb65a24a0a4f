package main

import (
	"io"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"ddsworker/internal/dds/ddsfake"
)

const description = `Runs a whole system on this machine: Postgres, NATS, a simulated cloud and a worker. Nothing has to be installed or configured but a Postgres, and nothing is left behind.`

type cli struct {
	Up   up   `cmd:"" default:"withargs" help:"Run it until Ctrl-C, and print how to reach it (the default)."`
	Demo demo `cmd:"" help:"Send it the four documented requests, show what becomes of them, and stop it."`
}

// streams are where results and remarks go.
type streams struct{ out, err io.Writer }

func parse(args []string, stdout, stderr io.Writer) (*kong.Context, error) {
	parser, err := kong.New(new(cli), kong.Name("dev"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.Vars{"dialects": strings.Join(append(ddsfake.Dialects(), ddsfake.Union), ", ")},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}))
	if err != nil {
		return nil, err
	}
	return parser.Parse(args)
}

// cloudFlags say how the simulated cloud behaves.
type cloudFlags struct {
	JobDuration time.Duration `default:"15m" help:"How long the cloud builds an instance, a third more or less, in its own time."`
	Speed       float64       `default:"200" help:"How much faster than the real cloud it is: at 200, 15m take 4.5 s."`
}

// createLatency is about what the real cloud takes to answer a create call.
const createLatency = 300 * time.Millisecond

func (f cloudFlags) config(dialect string) (ddsfake.Config, error) {
	c := ddsfake.Config{Dialect: dialect, CreateLatency: createLatency, Speed: f.Speed,
		JobMin: f.JobDuration * 2 / 3, JobMax: f.JobDuration * 4 / 3}
	return c, c.Validate()
}
