package main

import (
	"context"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
)

const (
	// kindRefused is the kind of the event that says that a message came with the
	// id of another request.
	kindRefused = "refused"
	// refusalDelay is how long a refusal may take from the message's acceptance
	// or refusal by a worker until its event is here.
	refusalDelay = 2 * time.Second
	// silence is how long nothing may be heard of a request before people are told
	// why that may be.
	silence = 5 * time.Second
	// questionTimeout bounds one question to JetStream.
	questionTimeout = 5 * time.Second
)

// follower follows one request.
type follower struct {
	*waiter
	tracked
	row    int
	result result
	events chan provision.Event
	done   chan struct{} // closed when nobody takes events any more
	ended  bool
}

func newFollower(w *waiter, t tracked, row int) *follower {
	return &follower{waiter: w, tracked: t, row: row, result: result{ID: t.id, Name: t.name, Sequence: t.sequence},
		events: make(chan provision.Event, 16), done: make(chan struct{})}
}

// hand gives an event to the follower, unless it has ended.
func (f *follower) hand(e provision.Event) {
	select {
	case f.events <- e:
	case <-f.done:
	}
}

// follow keeps result up to date and tells whether the request ended before ctx.
func (f *follower) follow(ctx context.Context) bool {
	// A request that had our chosen id before us may have ended long ago. Its end
	// is ours only if our message is not refused, which takes a worker to tell.
	settled := !f.reused
	var later <-chan time.Time
	silent := time.After(silence)
	for {
		select {
		case <-ctx.Done():
			return false
		case e := <-f.events:
			if f.sequence != 0 && e.Concerns == f.sequence {
				f.result.State, f.result.Error = provision.Rejected, e.Error
				return true
			}
			f.take(e)
			later, silent = nil, nil
			if f.result.State.Ended() && f.isLatest(ctx, e) {
				if settled {
					return true
				}
				later = time.After(refusalDelay)
			}
		case <-silent:
			f.screen.silent(f.row, f.sequence != 0)
		case <-later:
			if settled {
				return true
			}
			settled = !f.isQueued(ctx)
			later = time.After(refusalDelay)
		}
	}
}

// take notes an event, unless it is about a message that is not ours.
func (f *follower) take(e provision.Event) {
	switch {
	case e.Kind == kindRefused:
		return
	case f.sequence != 0 && e.Concerns != 0 && e.Concerns != f.sequence:
		return
	}
	f.result.State, f.result.Progress, f.result.Error = e.State, e.Progress, e.Error
	if e.InstanceID != "" {
		f.result.InstanceID = e.InstanceID
	}
	if e.JobID != "" {
		f.result.JobID = e.JobID
	}
	f.screen.show(f.row, f.result)
}

// isLatest reports whether no event follows e yet: a request that failed may
// have been retried since, and an id that was rejected used again.
func (f *follower) isLatest(ctx context.Context, e provision.Event) bool {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	stream, err := f.js.Stream(ctx, queue.EventsStream)
	if err != nil {
		return true
	}
	last, err := stream.GetLastMsgForSubject(ctx, queue.EventSubject(f.id))
	if err != nil {
		return true
	}
	newest, err := queue.ParseEvent(last.Header, last.Data)
	return err != nil || newest.ID <= e.ID
}

// isQueued reports whether our message still waits for a worker, as far as we
// may know: a publisher need not be allowed to ask.
func (f *follower) isQueued(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	waits, err := queue.IsWaiting(ctx, f.js, f.sequence)
	return err == nil && waits
}
