package provision

import (
	"context"
	"time"
)

// errand is work that takes several calls which come to something only together: the
// pages of a list, or a deletion and the read before it. Its first call waits for its
// slot as any other. Those after it wait for as long as it takes, and meanwhile its
// claim is kept, so it comes to its end at any rate. Its calls follow each other.
type errand struct {
	patient context.Context // its calls wait for slots while this lasts
	limit   time.Duration   // of a call
	until   time.Time       // when its next call has to have ended, before its claim's lease
	// keep makes the claim hold for a whole lease again, or reports that it is somebody
	// else's by now; nil: nobody else can take it.
	keep  func(ctx context.Context) (ok bool, err error)
	begun bool // a call of it has left
}

type errandKey struct{}

// in returns a context for the errand's calls.
func (e *errand) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, errandKey{}, e)
}

// errandOf returns the errand that a call belongs to; nil if it is one by itself.
func errandOf(ctx context.Context) *errand {
	e, _ := ctx.Value(errandKey{}).(*errand)
	return e
}

// hasBegun reports whether a call would be in vain that has left, if no other followed.
func (e *errand) hasBegun() bool { return e != nil && e.begun }

// over is closed when no call of it waits any longer; nil for what is no errand.
func (e *errand) over() <-chan struct{} {
	if e == nil {
		return nil
	}
	return e.patient.Done()
}

// patience is how long a call may wait before the claim has to be kept: the other half
// of the time is the call's.
func (e *errand) patience() time.Duration { return time.Until(e.until) - e.limit/2 }

// kept reports whether another call may follow. It keeps the claim if there is not
// enough time left for one.
func (e *errand) kept(ctx context.Context) bool {
	if e.patience() > 0 {
		return true
	}
	asked := time.Now()
	if e.keep != nil {
		if ok, err := e.keep(ctx); err != nil || !ok {
			return false
		}
	}
	e.until = asked.Add(e.limit)
	return true
}

// call returns a context for the errand's next call, which is about to leave.
func (e *errand) call(ctx context.Context) (context.Context, context.CancelFunc) {
	if e == nil {
		return ctx, func() {}
	}
	e.begun = true
	return context.WithDeadline(ctx, e.until)
}
