package main

import (
	"context"
	"fmt"
	"slices"
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
		js: conn.JetStream(), screen: screen, timeout: c.Timeout, silence: silence,
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
	silence time.Duration // as the constant, but in tests
}

// wait follows all requests and returns when each has ended, or time is up.
func (w *waiter) wait(ctx context.Context, all []tracked) error {
	limited, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	followers := make([]*follower, len(all))
	for i, t := range all {
		followers[i] = newFollower(w, t, i)
	}
	w.screen.start(all)
	var reading, following sync.WaitGroup
	w.read(limited, &reading, followers)
	for i, f := range followers {
		following.Go(func() {
			defer close(f.done)
			if f.ended = f.follow(limited); f.ended {
				w.out.waited(f.result)
				w.screen.finish(i, f.result)
			}
		})
	}
	following.Wait()
	cancel()
	reading.Wait()
	w.screen.stop()

	var open []string
	failed, lost := 0, 0
	for _, f := range followers {
		switch {
		case !f.ended:
			open = append(open, shellWord(f.id))
			w.out.waited(f.result)
		case f.lost:
			lost++
		case f.result.State != provision.Ready:
			failed++
		}
	}
	return w.conclude(ctx, len(all), failed, lost, open)
}

// read starts to hand the events to the followers, through as few consumers as can be,
// until ctx ends.
func (w *waiter) read(ctx context.Context, reading *sync.WaitGroup, followers []*follower) {
	for some := range slices.Chunk(followers, queue.MaxWatched) {
		byID, ids := map[string]*follower{}, []string{}
		for _, f := range some {
			byID[f.id] = f
			ids = append(ids, f.id)
		}
		reading.Go(func() {
			for e, err := range queue.Watch(ctx, w.js, ids...) {
				if err != nil {
					w.screen.trouble(err)
					continue
				}
				byID[e.RequestID].hand(e)
			}
		})
	}
}

// conclude turns what came of all requests into the program's end.
func (w *waiter) conclude(ctx context.Context, all, failed, lost int, open []string) error {
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
	case lost > 0:
		return exit(exitUnknown, "%d of %d requests were known before, and nothing tells what became of them", lost, all)
	}
	return w.out.err
}
