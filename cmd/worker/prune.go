package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"ddsworker/internal/app"
	"ddsworker/internal/provision"
)

// pruneCommand needs the database alone.
type pruneCommand struct {
	OlderThan string `required:"" placeholder:"AGE" help:"How long ago they ended, at least: 90d, 36h."`
}

// progressEvery is how often the progress is told.
const progressEvery = time.Second

// Run tells the progress on standard error and the sum on standard output.
func (r pruneCommand) Run(ctx context.Context, c *cli) error {
	age, err := app.ParseAge(r.OlderThan)
	if err != nil {
		return settingsError{fmt.Errorf("--older-than: %w", err)}
	}
	a, err := c.database()
	if err != nil {
		return err
	}
	told := time.Now()
	sum, err := a.Prune(ctx, age, func(sum provision.Pruned) {
		if time.Since(told) < progressEvery {
			return
		}
		told = time.Now()
		if sum.Busy {
			fmt.Fprintln(os.Stderr, "somebody else prunes: waiting")
			return
		}
		fmt.Fprintf(os.Stderr, "%d requests and %d rejections so far; has come to %s\n", sum.Requests, sum.Rejections, sum.Reached.UTC().Format(time.DateTime))
	})
	fmt.Printf("%d requests and %d rejections pruned\n", sum.Requests, sum.Rejections)
	return err
}
