package provision

import (
	"context"
	"time"
)

// Bell wakes a loop that has nothing to do. Ringing never blocks, and rings
// that nobody heard yet are one.
type Bell chan struct{}

// NewBell returns a bell.
func NewBell() Bell { return make(Bell, 1) }

// Ring wakes whoever waits, or the next one to wait.
func (b Bell) Ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

func ring(bells []Bell) {
	for _, bell := range bells {
		bell.Ring()
	}
}

// wait returns when the bell rings, d has passed or ctx has ended.
func (b Bell) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-b:
	case <-t.C:
	case <-ctx.Done():
	}
}

// idle is how long a loop waits when nothing is due and nobody rings: the
// longest that a row of another worker can stay unseen after it became due.
const idle = time.Second

// pause bounds the waits after a step that failed.
//
// With what a connection takes to be made, a loop is at work again within 5 s.
const pauseMin, pauseMax = 100 * time.Millisecond, 2 * time.Second

// repeat runs step until ctx ends: at once again while there is more to do, when
// the bell rings or the idle time has passed, and after a growing pause when it
// failed.
func repeat(ctx context.Context, name string, h *Health, bell Bell, step func(context.Context) (more bool, err error)) {
	failures := 0
	for ctx.Err() == nil {
		more, err := step(ctx)
		h.Report(name, err)
		switch {
		case err != nil:
			failures++
			Bell(nil).wait(ctx, expDelay(pauseMin, pauseMax, failures))
		case !more:
			failures = 0
			bell.wait(ctx, idle)
		default:
			failures = 0
		}
	}
}

// graceful returns a context for what is in flight: it ends a grace time after
// ctx does.
func graceful(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(grace, cancel)
		context.AfterFunc(work, func() { t.Stop() })
	})
	return work, func() { stop(); cancel() }
}
