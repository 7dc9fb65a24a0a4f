package queue

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// GuardConfig says how a Guard works. Zero values take their defaults.
type GuardConfig struct {
	// Interval lies between two looks; default 5 seconds.
	Interval time.Duration
	// Mend makes what is missing; nil: nobody does.
	Mend func(ctx context.Context) error
	Log  *slog.Logger // default: slog.Default()
	// Report is told about PartStreams after each look; nil means well. It may be
	// nil.
	Report func(part string, err error)
}

// Guard looks at the streams and the consumer from time to time, as somebody may
// change them while workers work, or whose they are, or for whom passwords are sealed;
// and as they may be full or paused. It mends what is missing, if it may: all else is
// for people to judge.
type Guard struct {
	js     jetstream.JetStream
	layout Layout
	cfg    GuardConfig
	cancel context.CancelFunc
	done   chan struct{}
	warned bool // of a recipient that is not the first; used by run alone
}

// NewGuard starts with a first look. Close ends it.
func NewGuard(js jetstream.JetStream, l Layout, cfg GuardConfig) *Guard {
	cfg.Interval = orDefault(cfg.Interval, 5*time.Second)
	cfg.Log = orDefault(cfg.Log, slog.Default())
	if cfg.Report == nil {
		cfg.Report = func(string, error) {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := &Guard{js: js, layout: l, cfg: cfg, cancel: cancel, done: make(chan struct{})}
	go g.run(ctx)
	return g
}

// Close ends a look under way and waits until the guard has ended.
func (g *Guard) Close() {
	g.cancel()
	<-g.done
}

func (g *Guard) run(ctx context.Context) {
	defer close(g.done)
	for {
		g.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(g.cfg.Interval):
		}
	}
}

// look says what it found, but for a connection that is away: that is reported as a
// part of its own.
func (g *Guard) look(ctx context.Context) {
	looking, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := g.verify(looking)
	if errors.As(err, new(*missingError)) && g.cfg.Mend != nil {
		err = g.cfg.Mend(looking)
	}
	if ctx.Err() != nil || err != nil && !g.js.Conn().IsConnected() {
		return
	}
	g.cfg.Report(PartStreams, err)
}

// verify tells what is wrong with the streams and the consumer.
func (g *Guard) verify(ctx context.Context) error {
	requests, err := checkStreams(ctx, g.js, g.layout)
	if err != nil {
		return err
	}
	g.compare(requests.Config.Metadata[recipientKey])
	consumer, err := checkConsumer(ctx, g.js, g.layout)
	if err != nil {
		return err
	}
	return errors.Join(checkPause(consumer), checkRoom(requests))
}

// compare warns, once, of a recipient whose identity is there but not the first:
// after a rotation nobody but Setup publishes the new one.
func (g *Guard) compare(recipient string) {
	isFirst := len(g.layout.Recipients) == 0 || recipient == g.layout.Recipients[0]
	if !isFirst && !g.warned {
		g.cfg.Log.Warn("publishers seal passwords for another identity than the first in SECRETS_IDENTITY_FILE; "+
			"run `worker migrate` to have publishers seal for the first identity",
			"stream", RequestsStream, "published", recipient, "first", g.layout.Recipients[0])
	}
	g.warned = !isFirst
}
