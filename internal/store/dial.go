package store

import (
	"net"
	"time"

	"ddsworker/internal/usertimeout"
)

// vanished is how long a machine may say nothing at all until its connections are
// given up. A slow statement is no silence: the machine's kernel answers for it.
const vanished = 8 * time.Second

// dialer makes connections that notice, while a statement runs, that the machine
// on their other side is gone, as the old one is after a failover. Keep-alives are not
// sent while something is unacknowledged.
func dialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: vanished / 2, Interval: vanished / 4, Count: 2},
		Control:         usertimeout.Of(vanished),
	}
}
