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
)

func main() {
	p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(p.run(context.Background(), os.Args[1:]))
}
