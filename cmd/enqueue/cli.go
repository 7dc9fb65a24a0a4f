package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"ddsworker/internal/queue"
)

// Exit codes, as the help lists them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitInput       = 2
	exitNATS        = 3
	exitTimeout     = 4
	exitUnknown     = 5
	exitInterrupted = 130
)

const description = `Publishes requests to create database instances, and waits for them.

Exit codes:

    0    done; with --wait: every instance is ready
    1    with --wait: a request failed, was rejected or was cancelled; or
         standard output could not be written
    2    bad input; nothing was published
    3    NATS could not be reached, names no recipient to seal passwords for,
         or did not take every request
    4    with --wait: time is up and a request has not ended
    5    with --wait and --id: a request was known before, and its events are
         not kept any more: Postgres knows what became of it
    130  interrupted; what was published goes on

Start with: enqueue create --help`

type cli struct {
	Create  createCommand  `cmd:"" help:"Publish requests from files or standard input."`
	Wait    waitCommand    `cmd:"" help:"Wait for requests that were published earlier."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// outputFlags say how results are printed.
type outputFlags struct {
	Output  string        `short:"o" env:"ENQUEUE_OUTPUT" enum:"text,json" default:"text" help:"Form of standard output: text prints the id of each stored request on a line; json prints one object a request with id, name, sequence and, after waiting, state, instance_id, job_id and error."`
	Timeout time.Duration `env:"ENQUEUE_TIMEOUT" default:"2h" help:"How long to wait for the end of the requests."`
}

// program is one call of enqueue.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// exitError ends the program with a code; message may be empty if everything
// was said already.
type exitError struct {
	code    int
	message string
}

func (e *exitError) Error() string { return e.message }

func exit(code int, format string, args ...any) error {
	return &exitError{code, fmt.Sprintf(format, args...)}
}

// run does what args say and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	helped := false
	parser := kong.Must(&cli{},
		kong.Name("enqueue"),
		kong.Description(description),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(int) { helped = true }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(p))
	command, err := parser.Parse(args)
	switch {
	case helped:
		return exitOK
	case err != nil:
		return p.end(exit(exitInput, "%v; see: enqueue --help", err))
	}
	return p.end(command.Run())
}

// end says why the program ends, and returns the exit code.
func (p *program) end(err error) int {
	if err == nil {
		return exitOK
	}
	e, ok := errors.AsType[*exitError](err)
	if !ok {
		e = &exitError{exitFailed, err.Error()} // of writing to standard output
	}
	if e.message != "" {
		fmt.Fprintln(p.stderr, "enqueue:", e.message)
	}
	return e.code
}

// interruptible returns a context that the first interrupt ends; the second
// ends the program. Not used while files are read: there is nothing to tell then.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// connect connects to NATS; what happens to the connection is told on screen.
func connect(ctx context.Context, server queue.Server, s *screen) (*queue.Conn, error) {
	log := slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	return queue.Connect(ctx, queue.Config{
		Server: server, Name: "enqueue",
		ConnectTimeout: 5 * time.Second, DrainTimeout: 5 * time.Second, Log: log,
	})
}
