package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ddsworker/internal/provision"
)

// Every watchInterval the database is asked for a sign of life, which it may take
// watchPatience to give.
const watchInterval, watchPatience = 2 * time.Second, 4 * time.Second

// pinger is a database that can be asked for a sign of life.
type pinger interface {
	Ping(ctx context.Context) error
}

// watchDatabase tells of a database that does not answer, until ctx ends. The
// loops wait for their statements as long as those may take; they can tell only
// much later.
func watchDatabase(ctx context.Context, db pinger, health *provision.Health) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, watchPatience)
		err := db.Ping(asking)
		cancel()
		if err != nil && ctx.Err() == nil && errors.Is(asking.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("the database has not answered for %v: %w", watchPatience, err)
		}
		if ctx.Err() == nil {
			health.Report(provision.PartDatabase, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
