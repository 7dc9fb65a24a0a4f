package provision

import (
	"context"
	"errors"
	"time"
)

// Relay publishes events from the database to the stream, one worker at a time.
type Relay struct {
	Store     RelayStore
	Publisher EventPublisher
	Batch     int
	Timeout   time.Duration // of publishing one batch, and of recording that it is published
	Health    *Health
	Due       Bell
}

// Run relays while this worker has the lead, until ctx ends; then it sends what
// is left while work lasts.
func (r *Relay) Run(ctx, work context.Context) {
	repeat(ctx, "relay", r.Health, nil, func(ctx context.Context) (bool, error) {
		release, ok, err := r.Store.Lead(ctx)
		if err != nil || !ok {
			return false, err
		}
		defer release()
		leading, stop := context.WithCancel(ctx)
		defer stop()
		var failed error
		repeat(leading, "relay", r.Health, r.Due, func(ctx context.Context) (bool, error) {
			more, err := r.Round(ctx)
			if err != nil { // give the lead away: somebody else may fare better
				failed = err
				stop()
			}
			return more, err
		})
		for more := failed == nil && ctx.Err() != nil; more; {
			more, failed = r.Round(work)
		}
		return false, failed
	})
}

// Round publishes one batch of events and notes their places in the stream.
func (r *Relay) Round(ctx context.Context) (more bool, err error) {
	events, err := r.Store.Unpublished(ctx, r.Batch)
	if err != nil || len(events) == 0 {
		return false, err
	}
	sending, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	published, failed := r.Publisher.Publish(sending, events)
	if len(published) > 0 {
		marking, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Timeout)
		defer cancel()
		failed = errors.Join(failed, r.Store.MarkPublished(marking, published))
	}
	return len(events) == r.Batch, failed
}
