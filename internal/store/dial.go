package store

import (
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/usertimeout"
)

// vanished is how long a machine may say nothing at all until its connections are
// given up. A slow statement is no silence: the machine's kernel answers for it.
const vanished = 8 * time.Second

// givenUp lets the server do the same, so that what the session of a worker holds
// goes soon after its machine: by default that takes two hours, for which nobody
// else could lead. On Unix sockets the server passes over these settings.
var givenUp = map[string]string{
	"tcp_keepalives_idle":     strconv.Itoa(int((vanished / 2).Seconds())),
	"tcp_keepalives_interval": strconv.Itoa(int((vanished / 4).Seconds())),
	"tcp_keepalives_count":    "2",
	"tcp_user_timeout":        strconv.Itoa(int(vanished.Milliseconds())),
}

// watched lets both sides of the connections of cfg notice that the other is gone, or
// does not come, where the connection string says nothing else.
func watched(cfg *pgx.ConnConfig) {
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	cfg.DialFunc = dialer().DialContext
	for name, value := range givenUp {
		setDefault(cfg.RuntimeParams, name, value)
	}
}

// dialer makes connections that notice, while a statement runs, that the machine
// on their other side is gone, as the old one is after a failover. Keep-alives are not
// sent while something is unacknowledged.
func dialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: vanished / 2, Interval: vanished / 4, Count: 2},
		Control:         usertimeout.Of(vanished),
	}
}
