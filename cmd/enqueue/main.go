// Command enqueue publishes requests to create database instances, and waits
// for them if asked to.
//
// It promises that nothing is published unless every request of the call keeps
// all rules, that it tells which requests are stored and which are not, and that
// no password appears in what it prints. `enqueue --help` says the rest.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// Where nobody reads standard output any more, as in `enqueue … | head`, writing
	// fails instead of ending the program: it has to tell what is stored.
	signal.Ignore(syscall.SIGPIPE)
	p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(p.run(context.Background(), os.Args[1:]))
}
