package ddsfake

import (
	"slices"
	"sync"
	"time"
)

// A user is locked out for lockoutSpan after lockoutFailures within lockoutSpan, dds-api.md §1.5. It is the cloud's own time.
const (
	lockoutFailures = 5
	lockoutSpan     = 15 * time.Minute
)

type lockout struct {
	span  time.Duration
	mu    sync.Mutex
	users map[string]*failures
}

type failures struct {
	recent []time.Time
	until  time.Time // locked before this time
}

func (l *lockout) locked(user string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.users[user]
	return f != nil && now.Before(f.until)
}

func (l *lockout) failed(user string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.users[user]
	if f == nil {
		f = &failures{}
		l.users[user] = f
	}
	f.recent = slices.DeleteFunc(f.recent, func(t time.Time) bool { return now.Sub(t) >= l.span })
	f.recent = append(f.recent, now)
	if len(f.recent) >= lockoutFailures {
		f.recent, f.until = nil, now.Add(l.span)
	}
}

func (l *lockout) succeeded(user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.users, user)
}
