// Command bench measures the worker beside the floor and its peers, on one
// machine and in one run. Absolute figures are noise; the ratios count.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"ddsworker/internal/app"
)

// cli is the whole command line.
type cli struct {
	Compare   compareCase   `cmd:"" default:"withargs" help:"The floor, the worker, a plain worker and River, side by side (the default command)."`
	Latency   latencyCase   `cmd:"" help:"From publishing to the create call's arrival, at half load."`
	Air       airCase       `cmd:"" help:"Many instances being built for 5 to 20 minutes, in sped-up time."`
	History   historyCase   `cmd:"" help:"The rate with and without a long history."`
	Building  buildingCase  `cmd:"" help:"The rate and the memory with many instances being built."`
	Waiting   waitingCase   `cmd:"" help:"The rate and the memory with many requests that wait."`
	Processes processesCase `cmd:"" help:"The rate with several worker processes."`
	Role      roles         `cmd:"" hidden:""`
}

// options are those that all cases share.
type options struct {
	Out         string            `default:"out" type:"path" help:"Directory that the JSON and the plot are written to."`
	Concurrency int               `default:"64" help:"Create calls at a time, of everybody."`
	Set         map[string]string `mapsep:"," placeholder:"NAME=VALUE" help:"Further settings of the worker, by their variables."`
	Limit       time.Duration     `default:"5m" help:"How long one trial may take."`
	Profile     bool              `help:"Profile the worker, and what Postgres does for it: worker.pprof, statements.txt."`
	Logs        string            `type:"path" help:"Directory that the logs of all processes are kept in."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := execute(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func execute(ctx context.Context, args []string) error {
	var c cli
	parser, err := kong.New(&c, kong.Name("bench"), kong.UsageOnError(), kong.Vars(app.Vars()),
		kong.Description("Measures the worker beside the floor and its peers. What counts is the ratios."))
	if err != nil {
		return err
	}
	command, err := parser.Parse(args)
	parser.FatalIfErrorf(err)
	command.BindTo(ctx, (*context.Context)(nil))
	return command.Run()
}
