//go:build !linux

package usertimeout

import (
	"syscall"
	"time"
)

// Of leaves it to the system how long it repeats what nobody acknowledges.
func Of(time.Duration) func(network, address string, c syscall.RawConn) error { return nil }
