// Command dev runs a whole system on this machine: Postgres, NATS, a simulated
// cloud and a worker. It needs Go and a Postgres to start, and leaves nothing
// behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 if all went well, 1 after a failure, 2 if the
// command line is wrong.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	command, err := parse(args, stdout, stderr)
	if err == nil {
		command.BindTo(ctx, (*context.Context)(nil))
		err = command.Run(streams{stdout, stderr})
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "dev:", err)
	if _, ok := errors.AsType[*kong.ParseError](err); ok {
		return 2
	}
	return 1
}
