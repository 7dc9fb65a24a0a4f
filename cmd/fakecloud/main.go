// Command fakecloud serves the simulated cloud of package ddsfake: IAM's login and the DDS calls under one base address, for
// trying things out, for demonstrations and for load. It keeps nothing on disk, and it is no place for a real password.
//
// "fakecloud health" asks a running one whether it is well and says so by its exit code, for containers without a shell.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fakecloud:", err)
		os.Exit(1)
	}
}

// execute runs one command line. Its error is for people.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c cli
	left := false
	parser, err := newParser(&c, stdout, stderr, func() { left = true })
	if err != nil {
		return err
	}
	command, err := parser.Parse(args)
	switch {
	case left: // --help has been printed
		return nil
	case err != nil:
		return errors.Join(err, errors.New("see fakecloud --help"))
	}
	command.BindTo(ctx, (*context.Context)(nil))
	return command.Run(streams{stdout, stderr})
}
