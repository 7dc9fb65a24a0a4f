package ddsfake

import (
	"fmt"
	"sync"
	"time"
)

// throttle counts the calls of each project, and of the account, in fixed windows, as the gateway does (dds-api.md
// §6.4, APIGW.0308). Refused calls count.
type throttle struct {
	limit   int            // of each project; 0: none
	of      map[string]int // of some of them
	account int            // of all together; 0: none
	per     time.Duration

	mu      sync.Mutex
	windows map[string]*window // by project; "": the account's
}

type window struct {
	start time.Time
	calls int
}

func newThrottle(cfg Config) *throttle {
	return &throttle{limit: cfg.Throttle, of: cfg.ThrottleProjects, account: cfg.ThrottleAccount, per: cfg.ThrottlePer,
		windows: map[string]*window{}}
}

// refusal counts a call and returns what it is refused with, if it is.
func (t *throttle) refusal(project string, now time.Time) (message string, refused bool) {
	own, ok := t.of[project]
	if !ok {
		own = t.limit
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for scope, limit := range map[string]int{project: own, "": t.account} {
		if limit > 0 && t.count(scope, now) > limit {
			message, refused = t.message(limit), true
		}
	}
	return message, refused
}

func (t *throttle) count(scope string, now time.Time) int {
	w := t.windows[scope]
	if w == nil || now.Sub(w.start) >= t.per {
		w = &window{start: now}
		t.windows[scope] = w
	}
	w.calls++
	return w.calls
}

func (t *throttle) message(limit int) string {
	n, unit := t.per/time.Second, "second"
	if t.per >= time.Minute && t.per%time.Minute == 0 {
		n, unit = t.per/time.Minute, "minute"
	}
	return fmt.Sprintf("The throttling threshold has been reached: policy user over ratelimit,limit:%d,time:%d %s",
		limit, max(n, 1), unit)
}
