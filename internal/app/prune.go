package app

import (
	"context"
	"fmt"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
)

// pruneInterval lies between two passes of a worker with a retention time.
const pruneInterval = 10 * time.Minute

// pruneWait is how long the command waits before it asks again whether somebody else
// still prunes.
const pruneWait = 500 * time.Millisecond

// Prune forgets what ended longer than an age ago, tells the sum after each batch,
// and returns it, beside an error too.
func (a *App) Prune(ctx context.Context, olderThan Age, tell func(provision.Pruned)) (sum provision.Pruned, err error) {
	db, err := store.Open(ctx, store.Config{URL: a.Config.Database.URL, MaxConns: 1})
	if err != nil {
		return sum, err
	}
	defer db.Close()
	for !sum.Done {
		batch, err := db.Prune(ctx, time.Duration(olderThan), sum.After)
		if err != nil {
			return sum, lacking(fmt.Errorf("prune: %w", err), "the rights of the role ddsworker_pruner, which deploy/grants.sql gives")
		}
		if sum.Busy = batch.Busy; !batch.Busy {
			sum.After, sum.Reached, sum.Done = batch.After, batch.Reached, batch.Done
			sum.Requests, sum.Rejections = sum.Requests+batch.Requests, sum.Rejections+batch.Rejections
		}
		tell(sum)
		if batch.Busy {
			select {
			case <-time.After(pruneWait):
			case <-ctx.Done():
				return sum, ctx.Err()
			}
		}
	}
	return sum, nil
}
