package store

import "syscall"

// giveUp bounds how long what was sent may stay unacknowledged: keep-alives are
// not sent meanwhile, and the kernel would repeat it for a quarter of an hour.
func giveUp(_, _ string, c syscall.RawConn) error {
	const tcpUserTimeout = 18 // TCP_USER_TIMEOUT of tcp(7)
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(vanished.Milliseconds()))
	}); failed != nil {
		return failed
	}
	if err == syscall.EOPNOTSUPP || err == syscall.ENOPROTOOPT { // no TCP
		return nil
	}
	return err
}
