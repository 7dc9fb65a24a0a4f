// Package localenv starts the two servers the system leans on, Postgres and
// NATS, on this machine, without Docker and without anything to configure.
//
// It promises that both listen on the loopback address alone, that Postgres
// asks for a random password, that everything they store lies in a temporary
// directory, and that nothing of them is left, neither a process nor a
// directory, once Stop has returned or this process is gone, however it went.
//
// Tests get their servers by way of package envtest.
package localenv

import (
	"fmt"
	"io"
	"net"
)

// Options says how to start a server. The zero value is a durable server on a
// free port that starts in silence.
type Options struct {
	// Port is the TCP port on 127.0.0.1; 0 takes a free one.
	Port int
	// Fast gives up safety against a crash of the machine for speed: Postgres
	// runs with fsync off, NATS does not sync each message. For tests.
	Fast bool
	// Settings are further settings of Postgres, each name=value.
	Settings []string
	// Log gets a line of progress for what takes long; nil drops it.
	Log io.Writer
}

func (o Options) logf(format string, args ...any) {
	if o.Log != nil {
		fmt.Fprintf(o.Log, format+"\n", args...)
	}
}

// claimPort returns port if it is free, or a free one for 0.
func claimPort(port int) (int, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return 0, fmt.Errorf("port %d cannot be used; name another one: %w", port, err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
