package tokencache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// leaseMargin is how much longer the right to log in holds than a login may
	// take: time to keep its token.
	leaseMargin = 5 * time.Second

	// fleetTimeout bounds one call of the Fleet, so that callers hear of a
	// database that does not answer before their own time is over.
	fleetTimeout = 5 * time.Second

	// fleetRetry is the pause after the Fleet did not answer.
	fleetRetry = time.Second

	// relook is the longest that news of the fleet (a login that worked after all)
	// can stay unseen while a failure holds logins back.
	relook = 5 * time.Second

	// Somebody else's login is waited for by looking, after pauses that grow.
	pollMin, pollMax = 50 * time.Millisecond, 500 * time.Millisecond
)

// A failed login holds back the fleet's next one for a pause that doubles with
// each failure in a row.
const (
	firstPause, longestPause = time.Second, 30 * time.Second

	// Refused credentials: 2, 4, 8 minutes make four logins in a quarter of an
	// hour, one less than IAM takes before it locks the account (dds-api.md §1.5).
	firstRefusedPause, longestRefusedPause = 2 * time.Minute, time.Hour
)

// found is a token and when, by this process's monotonic clock, it was born.
type found struct {
	token Token
	born  time.Time
}

// refresh gets a token other than the useless one: that of the fleet, or a new
// one. With an error comes the pause before it may be asked again.
func (c *Cache) refresh(projectID string, useless int64) (found, time.Duration, error) {
	for poll := pollMin; ; poll = min(2*poll, pollMax) {
		asked := time.Now() // before the question, so that no token seems to live longer than it does
		e, err := c.look(projectID)
		switch {
		case err != nil:
			return found{}, fleetRetry, err
		case !e.Token.IsZero() && e.Age < e.Token.Life && e.Token.Generation != useless:
			return found{e.Token, asked.Add(-e.Age)}, 0, nil
		case e.Failure != nil:
			return found{}, min(e.Failure.Pause, relook), e.Failure
		case e.Busy:
			if err := pause(c.ctx, poll/2+rand.N(poll/2)); err != nil {
				return found{}, 0, err
			}
			continue
		}
		got, again, retry, err := c.logIn(projectID, e)
		if !again {
			return got, retry, err
		}
	}
}

// logIn logs in for the whole fleet. again means that somebody else did.
func (c *Cache) logIn(projectID string, e Entry) (got found, again bool, retry time.Duration, err error) {
	began := time.Now()
	login, ok, err := c.begin(projectID, e.Logins)
	if err != nil {
		return found{}, false, fleetRetry, err
	}
	if !ok {
		return found{}, true, 0, nil
	}
	ctx, cancel := context.WithDeadline(c.ctx, began.Add(c.cfg.Timeout))
	defer cancel()
	t, err := c.cfg.Login.Login(ctx, projectID)
	if err == nil {
		err = unusable(t)
	}
	if err != nil {
		retry, err = c.failed(projectID, login, e, err)
		return found{}, false, retry, err
	}
	got = found{t, time.Now()}
	got.token.ProjectID, got.token.Generation = projectID, login
	again = c.keep(got, began.Add(c.cfg.Timeout+leaseMargin))
	return got, again, 0, nil
}

// unusable tells what is wrong with a token that a login returned.
func unusable(t Token) error {
	switch {
	case t.IsZero():
		return errors.New("the login brought no token")
	case t.Life <= 0:
		return fmt.Errorf("the login brought a token that ended %s ago", -t.Life)
	}
	return nil
}

// keep gives a new token to the fleet, as long as the lease lasts. If the
// database fails until then, the token serves this process alone. It returns
// true if another login has begun meanwhile, whose token is the fleet's.
func (c *Cache) keep(got found, leaseEnds time.Time) (superseded bool) {
	for {
		t := got.token
		t.Life -= time.Since(got.born)
		ok, err := inTime(context.WithoutCancel(c.ctx), func(ctx context.Context) (bool, error) { return c.cfg.Fleet.Succeed(ctx, t) })
		if err == nil {
			return !ok
		}
		if !time.Now().Before(leaseEnds) || pause(c.ctx, pollMax) != nil {
			return false
		}
	}
}

// failed tells the fleet of a login that failed and returns how long this
// process pauses. A login that Close ended is nobody's failure.
func (c *Cache) failed(projectID string, login int64, e Entry, err error) (time.Duration, error) {
	f := Failure{Message: err.Error(), Credentials: errors.Is(err, ErrCredentials)}
	if f.Credentials {
		f.Pause = doubled(firstRefusedPause, longestRefusedPause, e.Refusals)
	} else {
		f.Pause = doubled(firstPause, longestPause, e.Failures)
	}
	if c.ctx.Err() != nil {
		f = Failure{}
	}
	_, unrecorded := inTime(context.WithoutCancel(c.ctx), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.cfg.Fleet.Fail(ctx, projectID, login, f)
	})
	if unrecorded != nil {
		return f.Pause, err // nobody else knows, so at least this process waits
	}
	return min(f.Pause, relook), err
}

// doubled is the pause after one more failure than n in a row.
func doubled(first, longest time.Duration, n int) time.Duration {
	return min(first<<min(n, 20), longest)
}

func (c *Cache) look(projectID string) (Entry, error) {
	return inTime(c.ctx, func(ctx context.Context) (Entry, error) { return c.cfg.Fleet.Look(ctx, projectID) })
}

func (c *Cache) begin(projectID string, seen int64) (login int64, ok bool, err error) {
	login, err = inTime(c.ctx, func(ctx context.Context) (n int64, err error) {
		n, ok, err = c.cfg.Fleet.Begin(ctx, projectID, seen, c.cfg.Timeout+leaseMargin)
		return n, err
	})
	return login, ok, err
}

// inTime makes one call of the Fleet.
func inTime[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fleetTimeout, fmt.Errorf("no answer within %s: %w", fleetTimeout, context.DeadlineExceeded))
	defer cancel()
	v, err := call(ctx)
	if err != nil {
		err = fmt.Errorf("the database, where the fleet keeps its token, cannot be asked: %w", err)
	}
	return v, err
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
