package provision

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// BacklogStore tells how much waits.
type BacklogStore interface {
	// Waiting counts the requests of the whole fleet that wait for their call or are
	// being called, but no further than upTo, or a little more.
	Waiting(ctx context.Context, upTo int) (int, error)
}

// Backlog stops the intake while too many requests wait in the database. What is
// beyond its limit stays in the stream. It counts rarely, so that counting has at most
// a hundredth of the time, and adds what this worker took in since; what others took
// in since it does not know, so the fleet may be beyond the limit by that.
type Backlog struct {
	Store BacklogStore
	Limit int
	Log   *slog.Logger

	stopped   atomic.Bool
	counted   int // when it was counted last
	added     int // by this worker since
	countedAt time.Time
	took      time.Duration
}

// Stopped reports whether the intake waits for the backlog to become smaller.
func (b *Backlog) Stopped() bool { return b.stopped.Load() }

// The pause between two counts: a hundred times what one takes, within bounds.
const recountMin, recountMax = 100 * time.Millisecond, time.Minute

func (b *Backlog) pause() time.Duration { return min(max(100*b.took, recountMin), recountMax) }

// room returns how many more may be taken in, or how long to wait where that is none.
// Once stopped, it goes on when a twentieth of the limit is free.
func (b *Backlog) room(ctx context.Context) (n int, wait time.Duration, err error) {
	if age := time.Since(b.countedAt); b.countedAt.IsZero() || age >= b.pause() && (b.added > 0 || b.Stopped()) {
		if err := b.count(ctx); err != nil {
			return 0, 0, err
		}
	}
	n = b.Limit - b.counted - b.added
	switch {
	case b.Stopped() && n <= b.Limit/20, n <= 0:
		if !b.stopped.Swap(true) {
			b.Log.Warn("the intake stops: as many requests wait as may; more stay in the stream", "waiting", b.counted+b.added, "INTAKE_LIMIT", b.Limit)
		}
		return 0, b.pause(), nil
	case b.stopped.Swap(false):
		b.Log.Info("the intake goes on", "waiting", b.counted+b.added, "INTAKE_LIMIT", b.Limit)
	}
	return n, 0, nil
}

func (b *Backlog) count(ctx context.Context) (err error) {
	began := time.Now()
	counted, err := b.Store.Waiting(ctx, b.Limit)
	if err != nil {
		return err
	}
	b.counted, b.added, b.countedAt, b.took = counted, 0, time.Now(), time.Since(began)
	return nil
}
