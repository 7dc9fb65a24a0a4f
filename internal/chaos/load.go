package chaos

import (
	"context"
	"sync"
	"time"
)

// load publishes requests at a steady rate until it is stopped.
type load struct {
	publisher *publisher
	rate      int // requests a second
	cancel    context.CancelFunc
	done      sync.WaitGroup

	mu   sync.Mutex
	held bool
}

func startLoad(ctx context.Context, p *publisher, rate int) *load {
	ticking, cancel := context.WithCancel(ctx)
	l := &load{publisher: p, rate: rate, cancel: cancel}
	l.done.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for n := 0; ; {
			select {
			case <-ticking.Done():
				return
			case <-tick.C:
			}
			if !l.isHeld() {
				p.publish(ctx, requestID(n))
				n++
			}
		}
	})
	return l
}

// hold stops the load for a while, and waits until what was published is
// acknowledged; release lets it go on.
func (l *load) hold() {
	l.set(true)
	l.publisher.work.Wait()
}

func (l *load) release() { l.set(false) }

func (l *load) set(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = held
}

func (l *load) isHeld() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// stop ends the load and waits until everything is acknowledged.
func (l *load) stop() {
	l.cancel()
	l.done.Wait()
	l.publisher.work.Wait()
}

// starts are the times of the first create call for each request so far.
func (c *cloud) starts() []time.Time {
	first := map[string]bool{}
	var times []time.Time
	for _, call := range c.seen() {
		if !first[call.Mark] {
			first[call.Mark] = true
			times = append(times, call.At)
		}
	}
	return times
}

// within counts the times from from on, until before to.
func within(times []time.Time, from, to time.Time) (n int) {
	for _, t := range times {
		if !t.Before(from) && t.Before(to) {
			n++
		}
	}
	return n
}

// backAfter is how long after end the first second began that has at least want
// of the times, and false if there is none until until.
func backAfter(times []time.Time, end, until time.Time, want int) (time.Duration, bool) {
	for from := end; !from.Add(time.Second).After(until); from = from.Add(50 * time.Millisecond) {
		if within(times, from, from.Add(time.Second)) >= want {
			return from.Sub(end), true
		}
	}
	return 0, false
}
