package main

import (
	"context"
	"sync"
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
}

// follow keeps result up to date and tells whether the request ended before ctx.
func (f *follower) follow(ctx context.Context) bool {
	ctx, stop := context.WithCancel(ctx)
	events := make(chan provision.Event)
	var reader sync.WaitGroup
	defer reader.Wait()
	defer stop()
	reader.Go(func() { f.read(ctx, events) })

	// A request that had our chosen id before us may have ended long ago. Its end
	// is ours only if our message is not refused, which takes a worker to tell.
	settled := !f.reused
	var later <-chan time.Time
	silent := time.After(silence)
	for {
		select {
		case e, open := <-events:
			if !open {
				return false
			}
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

// read hands the request's events on until ctx ends.
func (f *follower) read(ctx context.Context, events chan<- provision.Event) {
	defer close(events)
	for e, err := range queue.Watch(ctx, f.js, f.id) {
		if err != nil {
			f.screen.trouble(err)
			continue
		}
		select {
		case events <- e:
		case <-ctx.Done():
			return
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
