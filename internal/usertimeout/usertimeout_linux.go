package usertimeout

import (
	"syscall"
	"time"
)

// Of returns a net.Dialer's Control: the kernel gives a connection up once what was
// sent has been unacknowledged for d. Without it that takes a quarter of an hour.
func Of(d time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		const tcpUserTimeout = 18 // TCP_USER_TIMEOUT
		var err error
		if failed := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
		}); failed != nil {
			return failed
		}
		if err == syscall.EOPNOTSUPP || err == syscall.ENOPROTOOPT { // no TCP
			return nil
		}
		return err
	}
}
