package provision

import (
	"context"
	"sync"
	"time"
)

// latch is a condition that others wait for. It begins as one that does not hold.
type latch struct {
	mu    sync.Mutex
	on    bool
	holds chan struct{} // closed while it holds
}

func newLatch() *latch { return &latch{holds: make(chan struct{})} }

func (l *latch) set(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case on == l.on:
		return
	case on:
		close(l.holds)
	default:
		l.holds = make(chan struct{})
	}
	l.on = on
}

func (l *latch) is() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.on
}

// wait reports whether the condition came to hold within d, before ctx ended.
func (l *latch) wait(ctx context.Context, d time.Duration) bool {
	l.mu.Lock()
	holds := l.holds
	l.mu.Unlock()
	select {
	case <-holds:
		return true
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-holds:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}
