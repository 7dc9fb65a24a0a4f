package provision

import (
	"context"
	"log/slog"
	"time"
)

// PruneStore forgets what ended long ago.
type PruneStore interface {
	// Prune forgets one batch of what ended longer than olderThan ago, beginning
	// after the place where the batch before ended; the first is 0.
	Prune(ctx context.Context, olderThan time.Duration, after int64) (Pruned, error)
}

// Pruned is what a batch forgot.
type Pruned struct {
	Requests   int
	Rejections int       // ids that were only ever rejected
	After      int64     // where the next batch begins
	Reached    time.Time // when what it looked at last came to be
	Done       bool      // nothing older is left
	Busy       bool      // somebody else prunes: nothing was done
}

// Pruner forgets, from time to time, what ended longer than a retention time ago.
// Whichever worker comes first does it, in batches whose locks are short.
type Pruner struct {
	Store    PruneStore
	Keep     time.Duration // 0: for ever
	Interval time.Duration // between two passes
	Health   *Health
	Log      *slog.Logger
}

// Run prunes until ctx ends.
func (p *Pruner) Run(ctx context.Context) {
	if p.Keep == 0 {
		return
	}
	for failures := 0; ctx.Err() == nil; {
		err := p.pass(ctx)
		p.Health.Report("retention", err)
		wait := p.Interval
		if err != nil {
			failures++
			wait = min(wait, expDelay(pauseMin, time.Minute, failures))
		} else {
			failures = 0
		}
		Bell(nil).wait(ctx, wait)
	}
}

// pass prunes all that is old, unless somebody else does. It rests after each batch
// for as long as that took, so that it has at most half of a connection's time.
func (p *Pruner) pass(ctx context.Context) error {
	var requests, rejections int
	for after := int64(0); ctx.Err() == nil; {
		began := time.Now()
		batch, err := p.Store.Prune(ctx, p.Keep, after)
		if err != nil || batch.Busy {
			return err
		}
		after = batch.After
		requests, rejections = requests+batch.Requests, rejections+batch.Rejections
		if batch.Done {
			break
		}
		Bell(nil).wait(ctx, time.Since(began))
	}
	if requests+rejections > 0 {
		p.Log.Info("pruned what ended long ago", "requests", requests, "rejections", rejections, "older than", p.Keep)
	}
	return nil
}
