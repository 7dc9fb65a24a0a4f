// Package tokencache keeps one IAM token for each project and shares it between
// all who call the cloud: within a process by a pointer, between processes by a
// Fleet.
//
// It promises that one process of the fleet logs in at a time and the others
// wait for its token; that a token is renewed before it ends while the old one
// still serves; that a refused token is replaced once, however many report it;
// and that a login which failed is not repeated by everybody who waits: IAM locks
// an account after a few wrong passwords (dds-api.md §1.5).
package tokencache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// ErrCredentials marks an error of a Login that says that the user name and
// password were refused, so that repeating the login may lock the account.
var ErrCredentials = errors.New("the credentials were refused")

// ErrClosed is what Token returns after Close.
var ErrClosed = errors.New("the token cache is closed")

// Login gets a new token. Its errors are ErrCredentials where that applies.
type Login interface {
	Login(ctx context.Context, projectID string) (Token, error)
}

// Config is what a Cache needs. Zero durations have the defaults.
type Config struct {
	Login Login
	Fleet Fleet
	// Timeout bounds one login; default 30 s.
	Timeout time.Duration
	// MinAge is how old a token must be to be replaced when it is refused;
	// default 1 min. A younger one is not stale: the credentials may not do what
	// was tried.
	MinAge time.Duration
	// Report, if set, is told how logins are doing: nil means well.
	Report func(error)
}

// Cache shares tokens. Its methods may be called at the same time.
type Cache struct {
	cfg Config

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

// New returns a cache. Close it.
func New(cfg Config) *Cache {
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	cfg.MinAge = cmp.Or(cfg.MinAge, time.Minute)
	if cfg.Report == nil {
		cfg.Report = func(error) {}
	}
	c := &Cache{cfg: cfg, projects: map[string]*project{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.live.Store(&map[string]Token{})
	return c
}

// Token returns the project's token, and gets one if there is none. While a
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

// Warm gets the projects' tokens ahead of their first use and does not wait for
// them. So a process whose credentials are right mends what others failed at,
// although it is they who are asked.
func (c *Cache) Warm(projectIDs ...string) {
	for _, id := range projectIDs {
		_, _ = c.join(id) // what comes of it is reported
	}
}

// Refused reports that the cloud refused t. The first report gets another one;
// those about a token that was replaced already change nothing. A token that is
// too young to be stale stays in use, unless the cloud said that it surely is:
// then nothing is sent with it until it is old enough to be replaced. stale tells
// that the refusal was about this token: it is not in use any more, or was old enough
// to be replaced. A refusal of any other token says something of the credentials.
func (c *Cache) Refused(t Token, surely bool) (stale bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.projects[t.ProjectID]
	if c.closed || p == nil || p.token.IsZero() || !p.token.same(t) {
		return true
	}
	now := time.Now()
	stale = !now.Before(p.matures)
	switch {
	case stale:
		p.drop()
		if p.flight == nil && !now.Before(p.retryAt) {
			c.start(p)
		}
	case surely:
		p.held = true
		if p.matures.Before(p.renewAt) {
			p.renewAt = p.matures
		}
	default:
		return false
	}
	c.publish(p)
	c.setTimer(p)
	return stale
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

// publish replaces the map of usable tokens.
func (c *Cache) publish(p *project) {
	next := maps.Clone(*c.live.Load())
	if p.token.IsZero() || p.held || c.closed {
		delete(next, p.id)
	} else {
		next[p.id] = p.token
	}
	c.live.Store(&next)
}
