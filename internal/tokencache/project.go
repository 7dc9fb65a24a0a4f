package tokencache

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// project is what this process knows about the token of one project. Cache.mu
// guards it.
type project struct {
	id      string
	token   Token     // zero if there is none to use
	matures time.Time // from when on a refusal means that it is stale
	renewAt time.Time
	ends    time.Time
	held    bool  // refused for sure, and not mature yet
	useless int64 // generation of the last token that went out of use

	flight *flight     // that gets a token
	timer  *time.Timer // fires when there is something to do

	failure error     // of the last flight; nil once one succeeds
	retryAt time.Time // when there may be another flight
}

// NotYet is why there is no token, and how long there will surely be none.
type NotYet struct {
	Wait time.Duration
	Err  error
}

// Error tells the reason.
func (e *NotYet) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *NotYet) Unwrap() error { return e.Err }

// flight gets a token, of the fleet or of IAM; token and err are set when done
// is closed.
type flight struct {
	done  chan struct{}
	token Token
	err   error
}

// join returns the project's flight, and starts one if there is none.
func (c *Cache) join(projectID string) (*flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	p := c.projects[projectID]
	if p == nil {
		p = &project{id: projectID}
		c.projects[projectID] = p
	}
	now := time.Now()
	switch {
	case !p.token.IsZero() && !p.held: // it came between the miss and the lock
		f := &flight{done: make(chan struct{}), token: p.token}
		close(f.done)
		return f, nil
	case p.flight != nil:
		return p.flight, nil
	case p.held && now.Before(p.matures):
		wait := p.matures.Sub(now)
		return nil, &NotYet{wait, fmt.Errorf("the cloud refused the token, which is too new to be stale; another one is asked for in %s",
			wait.Round(time.Second))}
	case now.Before(p.retryAt):
		return nil, &NotYet{p.retryAt.Sub(now), p.failure}
	}
	c.start(p)
	return p.flight, nil
}

// start gets a token in a goroutine that Close waits for.
func (c *Cache) start(p *project) {
	f := &flight{done: make(chan struct{})}
	p.flight = f
	useless := p.useless
	if !p.token.IsZero() { // a renewal
		useless = p.token.Generation
	}
	c.work.Go(func() {
		defer close(f.done)
		got, retry, err := c.refresh(p.id, useless)
		c.mu.Lock()
		defer c.mu.Unlock()
		p.flight = nil
		if c.closed {
			f.err = ErrClosed
			return
		}
		p.failure, p.retryAt = err, time.Now().Add(retry)
		if f.err = err; err == nil {
			p.take(got, c.cfg.MinAge)
			f.token = p.token
			c.publish(p)
		}
		c.setTimer(p)
		c.report()
	})
}

// take puts a token to use.
func (p *project) take(got found, minAge time.Duration) {
	p.token, p.held = got.token, false
	p.ends, p.matures = got.born.Add(got.token.Life), got.born.Add(minAge)
	// Somewhere in the first half of the last tenth of its life: not all
	// processes at once, and with time to try again.
	tenth := got.token.Life / 10
	p.renewAt = p.ends.Add(-tenth + rand.N(tenth/2+1))
}

// drop takes the token out of use.
func (p *project) drop() {
	p.useless = p.token.Generation
	p.token, p.held = Token{}, false
}

// next is when there is something to do: to get a token, or to drop one that
// ended. It is zero if there is nothing.
func (p *project) next() (refresh, any time.Time) {
	if p.flight == nil {
		switch {
		case !p.token.IsZero():
			refresh = later(p.renewAt, p.retryAt)
		case p.failure != nil:
			refresh = p.retryAt
		}
	}
	if !p.token.IsZero() && (refresh.IsZero() || p.ends.Before(refresh)) {
		return refresh, p.ends
	}
	return refresh, refresh
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// setTimer sets the project's timer to the next thing to do.
func (c *Cache) setTimer(p *project) {
	c.stopTimer(p)
	_, next := p.next()
	if next.IsZero() || c.closed {
		return
	}
	c.work.Add(1)
	p.timer = time.AfterFunc(time.Until(next), func() {
		defer c.work.Done()
		c.due(p)
	})
}

func (c *Cache) stopTimer(p *project) {
	if p.timer != nil && p.timer.Stop() {
		c.work.Done()
	}
	p.timer = nil
}

// due drops a token that ended and renews one that is about to; after a failure
// it asks again, so that the fleet's news reaches a process that nobody asks.
func (c *Cache) due(p *project) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	now := time.Now()
	if !p.token.IsZero() && !now.Before(p.ends) {
		p.drop()
		c.publish(p)
	}
	if refresh, _ := p.next(); !refresh.IsZero() && !now.Before(refresh) {
		c.start(p)
	}
	c.setTimer(p)
}

// report tells how logins are doing: one failure speaks for all projects.
func (c *Cache) report() {
	for _, id := range slices.Sorted(maps.Keys(c.projects)) {
		if err := c.projects[id].failure; err != nil && !errors.Is(err, ErrClosed) {
			c.cfg.Report(fmt.Errorf("project %s: %w", id, err))
			return
		}
	}
	c.cfg.Report(nil)
}
