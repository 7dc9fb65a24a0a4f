package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
)

type waitCommand struct {
	IDs []string `arg:"" name:"ID" help:"Ids of the requests."`

	outputFlags
	queue.Server
}

// Help is shown by enqueue wait --help.
func (waitCommand) Help() string {
	return `Follows requests until each is ready, failed, rejected or cancelled. What happened before is shown too, as long as the stream of events keeps it (7 days by default).

Examples:

    enqueue wait 01938a3c-7c5e-7a4e-9d0b-3f1f6d0c9a11
    enqueue wait order-4711 order-4712 --timeout 30m -o json`
}

// Run waits for the given requests.
func (c *waitCommand) Run(ctx context.Context, p *program) error {
	if c.Timeout <= 0 {
		return exit(exitInput, "--timeout %v: it must be longer than nothing", c.Timeout)
	}
	var all []tracked
	seen := map[string]bool{}
	for _, id := range c.IDs {
		if err := checkID(id); err != nil {
			return exit(exitInput, "%v", err)
		}
		if !seen[id] {
			all = append(all, tracked{id: id})
		}
		seen[id] = true
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	screen := &screen{out: p.stderr}
	conn, err := connect(ctx, c.Server, screen)
	if err != nil {
		return connectError(ctx, err, "the requests are not affected")
	}
	defer conn.Close() // nothing is on its way
	w := &waiter{
		js: conn.JetStream(), screen: screen, timeout: c.Timeout,
		out: &output{json: c.Output == "json", stdout: p.stdout},
	}
	return w.wait(ctx, all)
}

// tracked is a request that is waited for.
type tracked struct {
	id       string
	name     string // if it is known
	sequence uint64 // of the message that we published; 0 if we did not
	reused   bool   // the id was chosen, so another request may have had it before
}

// waiter follows requests through their events.
type waiter struct {
	js      jetstream.JetStream
	screen  *screen
	out     *output
	timeout time.Duration
}

// wait follows all requests and returns when each has ended, or time is up.
func (w *waiter) wait(ctx context.Context, all []tracked) error {
	limited, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	results, ended := make([]result, len(all)), make([]bool, len(all))
	w.screen.start(all)
	var group sync.WaitGroup
	for i, t := range all {
		group.Go(func() {
			f := follower{waiter: w, tracked: t, row: i, result: result{ID: t.id, Name: t.name, Sequence: t.sequence}}
			ended[i] = f.follow(limited)
			results[i] = f.result
			if ended[i] {
				w.out.waited(f.result)
				w.screen.finish(i, f.result)
			}
		})
	}
	group.Wait()
	w.screen.stop()

	var open []string
	failed := 0
	for i, r := range results {
		switch {
		case !ended[i]:
			open = append(open, shellWord(r.ID))
			w.out.waited(r)
		case r.State != provision.Ready:
			failed++
		}
	}
	return w.conclude(ctx, len(all), failed, open)
}

// conclude turns what came of all requests into the program's end.
func (w *waiter) conclude(ctx context.Context, all, failed int, open []string) error {
	goOn := fmt.Sprintf("%d of %d requests go on without you; wait again with:\n  enqueue wait %s", len(open), all, strings.Join(open, " "))
	switch {
	case len(open) > 0 && ctx.Err() != nil:
		return exit(exitInterrupted, "interrupted; %s", goOn)
	case len(open) > 0 && failed > 0:
		return exit(exitFailed, "%d of %d requests did not become ready; after %v %s", failed, all, w.timeout, goOn)
	case len(open) > 0:
		return exit(exitTimeout, "after %v %s", w.timeout, goOn)
	case failed > 0:
		return exit(exitFailed, "%d of %d requests did not become ready", failed, all)
	}
	return w.out.err
}
