// Package fleettest has what tests of a tokencache.Fleet need: one in memory, and
// the suite that every implementation passes. The one in memory goes by the
// process's clock, so it keeps virtual time in testing/synctest.
package fleettest

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"ddsworker/internal/tokencache"
)

// Memory is a fleet's memory.
type Memory struct {
	mu    sync.Mutex
	down  error
	users map[string]*user
}

type user struct {
	logins     int64
	leaseEnds  time.Time
	refusals   int
	failure    tokencache.Failure
	retryAt    time.Time
	passwords  []string // that were refused
	byProjects map[string]*project
}

type project struct {
	token    tokencache.Token
	born     time.Time
	failures int
	failure  tokencache.Failure
	retryAt  time.Time
}

// NewMemory returns an empty one.
func NewMemory() *Memory { return &Memory{users: map[string]*user{}} }

// Process returns the memory as a process sees it that logs in with the name and
// the password.
func (m *Memory) Process(name, password string) tokencache.Fleet {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users[name] == nil {
		m.users[name] = &user{byProjects: map[string]*project{}}
	}
	return &process{m, m.users[name], password}
}

// Break makes every call return err; nil mends it.
func (m *Memory) Break(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

// process is a tokencache.Fleet.
type process struct {
	*Memory
	u        *user
	password string
}

func (p *process) project(id string) *project {
	if p.u.byProjects[id] == nil {
		p.u.byProjects[id] = &project{}
	}
	return p.u.byProjects[id]
}

func (p *process) Look(_ context.Context, projectID string) (tokencache.Entry, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, j := time.Now(), p.project(projectID)
	e := tokencache.Entry{Token: j.token, Age: now.Sub(j.born), Logins: p.u.logins, Busy: now.Before(p.u.leaseEnds),
		Refusals: p.u.refusals, Failures: j.failures}
	waits := slices.Contains(p.u.passwords, p.password) || len(p.u.passwords) >= tokencache.MaxPasswords
	switch {
	case waits && now.Before(p.u.retryAt):
		f := p.u.failure
		f.Pause = p.u.retryAt.Sub(now)
		e.Failure = &f
	case now.Before(j.retryAt):
		f := j.failure
		f.Pause = j.retryAt.Sub(now)
		e.Failure = &f
	}
	return e, p.down
}

func (p *process) Begin(_ context.Context, _ string, seen int64, lease time.Duration) (int64, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down != nil || p.u.logins != seen || time.Now().Before(p.u.leaseEnds) {
		return 0, false, p.down
	}
	p.u.logins++
	p.u.leaseEnds = time.Now().Add(lease)
	return p.u.logins, true, nil
}

func (p *process) Succeed(_ context.Context, t tokencache.Token) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down != nil || p.u.logins != t.Generation {
		return false, p.down
	}
	*p.u = user{logins: p.u.logins, byProjects: maps.Clone(p.u.byProjects)}
	p.u.byProjects[t.ProjectID] = &project{token: t, born: time.Now()}
	return true, nil
}

func (p *process) Fail(_ context.Context, projectID string, login int64, f tokencache.Failure) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down != nil || p.u.logins != login {
		return p.down
	}
	p.u.leaseEnds = time.Time{}
	switch j := p.project(projectID); {
	case f.Credentials:
		p.u.refusals++
		p.u.failure, p.u.retryAt = f, time.Now().Add(f.Pause)
		if !slices.Contains(p.u.passwords, p.password) {
			p.u.passwords = append(p.u.passwords, p.password)
		}
	case f != tokencache.Failure{}:
		j.failures++
		j.failure, j.retryAt = f, time.Now().Add(f.Pause)
	}
	return nil
}
