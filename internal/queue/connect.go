package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says how to reach NATS. Zero durations take their defaults.
type Config struct {
	Server
	Name           string        // how the server's monitoring calls this client
	ConnectTimeout time.Duration // how long Connect tries; default 30 s
	DrainTimeout   time.Duration // how long Close waits for what is on its way; default 10 s
	Log            *slog.Logger  // default: slog.Default()

	// Report is told how a part is doing; nil means well. It may be nil.
	Report func(part string, err error)
}

// How soon a lost connection is noticed and made again. What is wrong may be over
// for 5 s at most before a worker works on.
const (
	reconnectWait = 250 * time.Millisecond
	pingInterval  = 3 * time.Second
)

// Conn is a connection that is made again for as long as it takes.
type Conn struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	drain   time.Duration
	closing atomic.Bool
	closed  chan struct{}
}

// Connect connects, and keeps trying for cfg.ConnectTimeout. Its error names
// the address without a login, the reason and what to do. What is wrong with the
// settings is an error at once, and so are a login and a certificate that one
// side refuses to the other.
func Connect(ctx context.Context, cfg Config) (*Conn, error) {
	shown, options, err := cfg.read()
	if err != nil {
		return nil, err
	}
	cfg.ConnectTimeout = orDefault(cfg.ConnectTimeout, 30*time.Second)
	cfg.DrainTimeout = orDefault(cfg.DrainTimeout, 10*time.Second)
	cfg.Log = orDefault(cfg.Log, slog.Default())
	if cfg.Report == nil {
		cfg.Report = func(string, error) {}
	}
	c := &Conn{drain: cfg.DrainTimeout, closed: make(chan struct{})}
	options = append(append(options, c.handlers(cfg, shown)...),
		nats.Name(cfg.Name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		// A server that vanished without a word is noticed after three of these.
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		// By default the client gives up for good when it is refused twice in a
		// row, which a restart of the server with half its accounts looks like.
		nats.IgnoreAuthErrorAbort(),
		nats.DrainTimeout(cfg.DrainTimeout))
	if c.nc, err = dial(ctx, cfg, options); err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w; %s", shown, err, cfg.advice(err))
	}
	c.js, err = jetstream.New(c.nc, jetstream.WithDefaultTimeout(callTimeout))
	if err != nil {
		c.nc.Close()
		return nil, fmt.Errorf("use JetStream at %s: %w", shown, err)
	}
	cfg.Log.Info("connected to NATS", "url", shown, "server", c.nc.ConnectedServerName())
	return c, nil
}

// dial repeats the first connect until it works or the time is over.
func dial(ctx context.Context, cfg Config, options []nats.Option) (*nats.Conn, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 100 * time.Millisecond
	pause.MaxInterval = 2 * time.Second
	pause.MaxElapsedTime = cfg.ConnectTimeout
	options = append(options, nats.Timeout(min(2*time.Second, cfg.ConnectTimeout)))

	var reason error
	nc, err := backoff.RetryWithData(func() (*nats.Conn, error) {
		nc, err := nats.Connect(cfg.URL.Reveal(), options...)
		reason = err
		if isFinal(err) {
			return nil, backoff.Permanent(err)
		}
		return nc, err
	}, backoff.WithContext(pause, ctx))
	if err != nil && ctx.Err() != nil && reason != nil {
		return nil, fmt.Errorf("%w (%w)", reason, ctx.Err())
	}
	return nc, err
}

// handlers tell the log and the health callback what happens to the connection.
func (c *Conn) handlers(cfg Config, shown string) []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if c.closing.Load() {
				return
			}
			if err == nil {
				err = errors.New("the server ended it")
			}
			cfg.Log.Warn("connection to NATS lost; it is being made again", "url", shown, "error", err)
			cfg.Report(PartConnection, fmt.Errorf("connection to NATS at %s lost: %w", shown, err))
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			url, _ := showURL(nc.ConnectedUrl()) // the client's own way hides no token
			cfg.Log.Info("connected to NATS again", "url", url)
			cfg.Report(PartConnection, nil)
		}),
		// A refused call looks like a time-out to the caller: only here does the
		// reason appear.
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			cfg.Log.Error("NATS refused or dropped something", "error", err, "subscription", subject)
		}),
		nats.ClosedHandler(func(*nats.Conn) {
			if !c.closing.Load() {
				cfg.Report(PartConnection, fmt.Errorf("connection to NATS at %s was closed for good", shown))
			}
			close(c.closed)
		}),
	}
}

// JetStream is what the rest of this package works on.
func (c *Conn) JetStream() jetstream.JetStream { return c.js }

// Close sends what is on its way and ends the connection, at the latest after
// the drain timeout. Close what uses the connection first.
func (c *Conn) Close() error {
	c.closing.Store(true)
	// An error means that there is nothing to drain: it is closed, or was just
	// lost and is closed now. What was not sent is delivered again.
	_ = c.nc.Drain()
	late := time.NewTimer(c.drain + time.Second)
	defer late.Stop()
	select {
	case <-c.closed:
		return nil
	case <-late.C:
		c.nc.Close()
		<-c.closed
		return fmt.Errorf("NATS did not take everything within %v; unacknowledged messages are delivered again", c.drain)
	}
}
