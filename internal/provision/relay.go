package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Relay publishes events from the database to the stream, one worker at a time.
type Relay struct {
	Store     RelayStore
	Publisher EventPublisher
	Batch     int
	Timeout   time.Duration // of publishing one batch, and of recording that it is published
	Rest      time.Duration // after a batch that was not full: what comes meanwhile goes together
	Health    *Health
	Due       Bell
}

// stalled is how long an event waits until workers that do not lead say so.
const stalled = 30 * time.Second

// Run relays while this worker has the lead, until ctx ends; then it sends what
// is left while work lasts.
func (r *Relay) Run(ctx, work context.Context) {
	var failed error // why this worker gave the lead away, at gaveUp
	var gaveUp time.Time
	repeat(ctx, "relay", r.Health, nil, func(ctx context.Context) (bool, error) {
		release, ok, err := r.Store.Lead(ctx)
		if err != nil {
			return false, err
		}
		if !ok {
			return false, r.follow(ctx, failed, gaveUp)
		}
		defer release()
		if failed = r.lead(ctx, work); failed != nil {
			gaveUp = time.Now()
		}
		return false, failed
	})
}

// lead relays until ctx ends or something fails: somebody else may fare better.
func (r *Relay) lead(ctx, work context.Context) (failed error) {
	leading, stop := context.WithCancel(ctx)
	defer stop()
	repeat(leading, "relay", r.Health, r.Due, func(ctx context.Context) (bool, error) {
		more, err := r.Round(ctx)
		if err != nil {
			failed = err
			stop()
		}
		if !more {
			Bell(nil).wait(ctx, r.Rest)
		}
		return more, err
	})
	for more := failed == nil && ctx.Err() != nil; more; {
		more, failed = r.Round(work)
	}
	return failed
}

// follow says how the relay does while another worker leads, or seems to: the server
// may not know yet that it is gone. After a failure of this worker's own that is not
// well before what waited then is published.
func (r *Relay) follow(ctx context.Context, failed error, gaveUp time.Time) error {
	waited, err := r.Store.Waited(ctx)
	switch {
	case err != nil:
		return err
	case failed != nil && waited >= time.Since(gaveUp):
		return failed
	case waited >= stalled:
		return fmt.Errorf("an event has waited for %v to be published by the worker that leads the relay: see what that one says on /readyz, or whether it is cut off", waited.Round(time.Second))
	}
	return nil
}

// Round publishes one batch of events and notes how far the stream is known then. It
// begins where the last note ends, so the stream refuses everything if somebody
// published without noting it: a relay that died, or one that is about to. Then it
// notes what is there, and the next round goes on behind that.
func (r *Relay) Round(ctx context.Context) (more bool, err error) {
	events, after, err := r.Store.Unpublished(ctx, r.Batch)
	if err != nil || len(events) == 0 {
		return false, err
	}
	sending, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	published, failed := r.Publisher.Publish(sending, after, events)
	if published.Last != after {
		marking, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Timeout)
		defer cancel()
		failed = errors.Join(failed, r.Store.MarkPublished(marking, published.inBatches(events)))
	}
	// The next batch of the outbox may have been too large for what room there was.
	return failed == nil && (len(events) > r.Batch/2 || len(published.IDs) < len(events)), failed
}

// inBatches names batches of the outbox where the stream has all that was read of them,
// and leaves only the ids of other events.
func (p Published) inBatches(read []Event) Published {
	stored := make(map[int64]bool, len(p.IDs))
	for _, id := range p.IDs {
		stored[id] = true
	}
	for len(read) > 0 {
		n, whole := 0, true
		for n < len(read) && read[n].Batch == read[0].Batch {
			whole = whole && stored[read[n].ID]
			n++
		}
		if whole {
			p.Batches = append(p.Batches, read[0].Batch)
			for _, e := range read[:n] {
				delete(stored, e.ID)
			}
		}
		read = read[n:]
	}
	p.IDs = slices.Sorted(maps.Keys(stored))
	return p
}
