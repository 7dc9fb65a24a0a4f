package main

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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
	// why that may be, and is asked again.
	silence = 5 * time.Second
	// patience is how many silences more events may be late: for longer than 30 s they
	// are a trouble of the workers.
	patience = 6
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
	lost   bool // it was known before us, and nothing tells what became of it
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

// follow keeps result up to date and tells whether the request ended, or is lost, before
// ctx did.
func (f *follower) follow(ctx context.Context) bool {
	// A request that had our chosen id before us may have ended long ago. Its end
	// is ours only if our message is not refused, which takes a worker to tell.
	settled := !f.reused
	var later <-chan time.Time
	silent, was, looks := time.After(f.silence), unheard, 0
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
			later = nil
			if f.result.State != "" {
				silent = nil
			}
			if f.result.State.Ended() && f.isLatest(ctx, e) {
				if settled {
					return true
				}
				later = time.After(refusalDelay)
			}
		case <-silent:
			is := f.whereabouts(ctx)
			if ctx.Err() != nil {
				return false
			}
			if looks++; is != was {
				f.screen.silent(f.row, is)
				was, looks = is, 0
			}
			if is == known && looks >= patience {
				f.lost, f.result.Error = true, &provision.EventError{Message: lostMessage}
				return true
			}
			silent = time.After(f.silence)
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
	newest, err := f.lastEvent(ctx)
	return err != nil || newest.ID <= e.ID
}

// lastEvent returns the last event of the request that the stream has.
func (f *follower) lastEvent(ctx context.Context) (provision.Event, error) {
	stream, err := f.js.Stream(ctx, queue.EventsStream)
	if err != nil {
		return provision.Event{}, err
	}
	last, err := stream.GetLastMsgForSubject(ctx, queue.EventSubject(f.id))
	if err != nil {
		return provision.Event{}, err
	}
	return queue.ParseEvent(last.Header, last.Data)
}

// isQueued reports whether our message still waits for a worker, as far as we
// may know: a publisher need not be allowed to ask.
func (f *follower) isQueued(ctx context.Context) bool { return f.whereabouts(ctx) == queued }

// whereabouts is what a request may be of which nothing was heard.
type whereabouts string

const (
	unheard whereabouts = "" // nobody has asked yet
	foreign whereabouts = "it waits for a worker, or it ended longer ago than events are kept, or no request has this id"
	queued  whereabouts = "it is stored and waits for a worker; none has taken it yet"
	taken   whereabouts = "a worker has taken it, and its events are late; /readyz of the workers tells more"
	known   whereabouts = "a worker has taken it, and no event followed so far; it may have been known before, longer ago than events are kept"
	hidden  whereabouts = "it is stored; whether a worker has taken it, and what followed, cannot be asked"
)

const lostMessage = "a worker took it and no event followed, so it was known before and its events are not kept any more: " +
	"ask Postgres, in the view provisioning_history"

// whereabouts asks the streams. Where a message with a chosen id is taken, and its
// request has no event, another message was that request long ago.
func (f *follower) whereabouts(ctx context.Context) whereabouts {
	if f.sequence == 0 {
		return foreign
	}
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	waits, err := queue.IsWaiting(ctx, f.js, f.sequence)
	switch {
	case err != nil:
		return hidden
	case waits:
		return queued
	case !f.reused:
		return taken
	}
	_, err = f.lastEvent(ctx)
	switch {
	case err == nil:
		return taken
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return known
	}
	return hidden
}
