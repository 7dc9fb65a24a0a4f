package provision

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// unsent keeps a loop from claiming again and again what this worker cannot send,
// be it that its login is refused or that it does not reach the cloud: another
// worker may. A project whose calls do not leave is paused for a growing time and
// then tried with one claim, until a call leaves.
type unsent struct {
	mu       sync.Mutex
	projects map[string]*pausing
}

type pausing struct {
	failures int
	until    time.Time
}

// unsentMin and unsentMax bound the pauses.
const unsentMin, unsentMax = 500 * time.Millisecond, 3 * time.Second

// handBack is how long what could not be sent stays back, whoever takes it then.
func handBack() time.Duration { return 400*time.Millisecond + rand.N(200*time.Millisecond) }

// notSent reports whether a call did not leave for a reason that is this worker's
// and not the request's.
func notSent(err error) bool {
	ce, ok := errors.AsType[*CloudError](err)
	return ok && ce.Class == ClassNotSent && ce.Code != unopened &&
		!errors.Is(err, errStopping) && !errors.Is(err, errNoSlot) && !errors.Is(err, context.Canceled)
}

// note learns from a call.
func (u *unsent) note(project string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.projects[project]
	switch now := time.Now(); {
	case errors.Is(err, errNotReached), errors.Is(err, errNoSlot), errors.Is(err, errStopping), errors.Is(err, context.Canceled):
	case !notSent(err):
		delete(u.projects, project)
	case p == nil:
		if u.projects == nil {
			u.projects = map[string]*pausing{}
		}
		u.projects[project] = &pausing{failures: 1, until: now.Add(expDelay(unsentMin, unsentMax, 1))}
	case now.After(p.until):
		p.failures++
		p.until = now.Add(expDelay(unsentMin, unsentMax, p.failures))
	}
}

// none reports whether nothing of any project may be claimed.
func none(projects []string, most map[string]int) bool {
	return !slices.ContainsFunc(projects, func(project string) bool {
		n, bounded := most[project]
		return !bounded || n > 0
	})
}

// most returns how much of each project may be claimed, where that is less than
// everything.
func (u *unsent) most(projects []string) map[string]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	most := map[string]int{}
	for _, project := range projects {
		p := u.projects[project]
		switch {
		case p == nil:
		case time.Now().Before(p.until):
			most[project] = 0
		default:
			most[project] = 1
		}
	}
	return most
}
