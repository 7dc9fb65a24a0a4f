// Package tokencache keeps one IAM token for each project and shares it between
// all who call the cloud.
//
// It promises that at most one login a project is under way, that a token is
// renewed before it ends while the old one still serves, that a refused token is
// replaced once however many callers report it, and that a login which failed is
// not repeated by everybody who waits: IAM locks an account after a few wrong
// passwords (dds-api.md §1.5).
package tokencache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// defaultLoginTimeout bounds one login.
	defaultLoginTimeout = 30 * time.Second

	// minAge is how old a token must be to be replaced when it is refused. A
	// younger one is not stale: the credentials may not do what was tried.
	minAge = time.Minute
)

// A failed login holds back the next one for a pause that doubles with each
// failure in a row, from first to longest.
const (
	firstPause   = time.Second
	longestPause = 5 * time.Minute

	// Refused credentials: 1, 2, 4, 8 minutes make four failures in 15 minutes,
	// one less than IAM takes before it locks the account (dds-api.md §1.5).
	firstCredentialsPause   = time.Minute
	longestCredentialsPause = 16 * time.Minute
)

// ErrCredentials marks an error of a Login that says that the credentials were
// refused, so that repeating the login brings nothing and may lock the account.
var ErrCredentials = errors.New("the credentials were refused")

// ErrClosed is what Token returns after Close.
var ErrClosed = errors.New("the token cache is closed")

// Login gets a new token. Its errors are ErrCredentials where that applies.
type Login interface {
	Login(ctx context.Context, projectID string) (Token, error)
}

// Cache shares tokens. Its methods may be called at the same time.
type Cache struct {
	login   Login
	timeout time.Duration

	// live holds the tokens that can be used right now. The map is never changed
	// but replaced, so that a hit is one load.
	live atomic.Pointer[map[string]Token]

	ctx    context.Context // of logins: theirs, not that of one caller
	cancel context.CancelFunc
	work   sync.WaitGroup // logins under way and timers that are set

	mu       sync.Mutex
	closed   bool
	projects map[string]*project
}

// project is what is known about the token of one project. Cache.mu guards it.
type project struct {
	id       string
	token    Token // zero if there is none to use
	obtained time.Time
	renewAt  time.Time
	timer    *time.Timer // fires at renewAt, then at the token's end

	flight *flight // the login under way

	failure  error // of the last login; nil once one succeeds
	failures int   // in a row
	retryAt  time.Time
}

// flight is a login under way; token and err are set when done is closed.
type flight struct {
	done  chan struct{}
	token Token
	err   error
}

// New returns a cache that logs in with login, each time for at most timeout
// (0: 30 s). Close it.
func New(login Login, timeout time.Duration) *Cache {
	if timeout <= 0 {
		timeout = defaultLoginTimeout
	}
	c := &Cache{login: login, timeout: timeout, projects: make(map[string]*project)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.live.Store(&map[string]Token{})
	return c
}

// Token returns the project's token, and logs in if there is none. While a
// failed login holds back the next one it returns that failure at once. A login
// goes on although ctx ends: others wait for it too.
func (c *Cache) Token(ctx context.Context, projectID string) (Token, error) {
	if t, ok := (*c.live.Load())[projectID]; ok {
		return t, nil
	}
	f, err := c.join(projectID)
	if err != nil {
		return Token{}, err
	}
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return Token{}, fmt.Errorf("wait for a login: %w", context.Cause(ctx))
	}
}

// Refused reports that the cloud refused t. The first report makes the next call
// of Token log in; those about a token that was replaced already, or about one
// that is younger than a minute, change nothing.
func (c *Cache) Refused(t Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.projects[t.ProjectID]
	if p == nil || p.token.IsZero() || !p.token.same(t) || time.Since(p.obtained) < minAge {
		return
	}
	c.drop(p)
}

// Close ends logins under way and waits for them. Token returns ErrClosed from
// then on.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.cancel()
	for _, p := range c.projects {
		c.stopTimer(p)
	}
	c.live.Store(&map[string]Token{})
	c.mu.Unlock()
	c.work.Wait()
}

// join returns the project's login under way, and starts one if there is none.
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
	switch {
	case !p.token.IsZero(): // it came between the miss and the lock
		f := &flight{done: make(chan struct{}), token: p.token}
		close(f.done)
		return f, nil
	case p.flight != nil:
		return p.flight, nil
	case time.Now().Before(p.retryAt):
		return nil, p.failure
	}
	c.start(p)
	return p.flight, nil
}

// start logs in, in a goroutine that Close waits for.
func (c *Cache) start(p *project) {
	f := &flight{done: make(chan struct{})}
	p.flight = f
	c.work.Go(func() {
		defer close(f.done)
		ctx, cancel := context.WithTimeout(c.ctx, c.timeout)
		defer cancel()
		f.token, f.err = c.login.Login(ctx, p.id)
		c.mu.Lock()
		defer c.mu.Unlock()
		p.flight = nil
		if f.err == nil {
			f.err = unusable(f.token)
		}
		switch {
		case c.closed:
			f.token, f.err = Token{}, ErrClosed
		case f.err != nil:
			f.token = Token{}
			c.failed(p, f.err)
		default:
			f.token.ProjectID = p.id
			c.succeeded(p, f.token)
		}
	})
}

// unusable tells what is wrong with a token that a login returned.
func unusable(t Token) error {
	switch {
	case t.IsZero():
		return errors.New("the login brought no token")
	case !time.Now().Before(t.ExpiresAt):
		return fmt.Errorf("the new token ended at %s already: set this machine's clock right",
			t.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return nil
}

func (c *Cache) succeeded(p *project, t Token) {
	p.failure, p.failures, p.retryAt = nil, 0, time.Time{}
	p.token, p.obtained = t, time.Now()
	// Somewhere in the first half of the last tenth of its life: not all
	// processes at once, and with time to try again.
	tenth := time.Until(t.ExpiresAt) / 10
	p.renewAt = t.ExpiresAt.Add(-tenth + rand.N(tenth/2+1))
	c.publish(p)
	c.setTimer(p)
}

func (c *Cache) failed(p *project, err error) {
	pause, longest := firstPause, longestPause
	if errors.Is(err, ErrCredentials) {
		pause, longest = firstCredentialsPause, longestCredentialsPause
	}
	for range p.failures {
		pause = min(2*pause, longest)
	}
	p.failures++
	p.failure, p.retryAt = err, time.Now().Add(pause)
	if !p.token.IsZero() { // a renewal: the old token serves on
		c.setTimer(p)
	}
}

// setTimer sets the project's timer to the next thing to do with its token.
func (c *Cache) setTimer(p *project) {
	c.stopTimer(p)
	next := p.token.ExpiresAt
	if p.flight == nil {
		for _, at := range []time.Time{p.renewAt, p.retryAt} {
			if at.After(time.Now()) && at.Before(next) {
				next = at
			}
		}
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

// due drops a token that ended and renews one that is about to.
func (c *Cache) due(p *project) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case c.closed || p.token.IsZero():
		return
	case !now.Before(p.token.ExpiresAt):
		c.drop(p)
		return
	case p.flight == nil && !now.Before(p.renewAt) && !now.Before(p.retryAt):
		c.start(p)
	}
	c.setTimer(p)
}

// drop takes the project's token out of use.
func (c *Cache) drop(p *project) {
	p.token = Token{}
	c.stopTimer(p)
	c.publish(p)
}

// publish replaces the map of usable tokens.
func (c *Cache) publish(p *project) {
	next := maps.Clone(*c.live.Load())
	if p.token.IsZero() {
		delete(next, p.id)
	} else {
		next[p.id] = p.token
	}
	c.live.Store(&next)
}
