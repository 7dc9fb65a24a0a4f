// Command worker takes requests for database instances from NATS and follows
// each of them to its end.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

// run returns the exit code: 0 after a graceful stop, 1 after a failure, 2 if
// the settings are wrong.
func run(ctx context.Context, args []string) int {
	var c cli
	parser, err := newParser(ctx, &c)
	if err == nil {
		var command *kong.Context
		if command, err = parser.Parse(args); err == nil {
			err = command.Run(&c)
		}
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "worker:", err)
	if errors.As(err, new(*kong.ParseError)) || errors.As(err, new(settingsError)) {
		return 2
	}
	return 1
}
