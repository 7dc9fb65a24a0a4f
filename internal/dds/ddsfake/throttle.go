package ddsfake

import (
	"fmt"
	"sync"
	"time"
)

// throttle counts a project's calls in fixed windows, as the gateway does (dds-api.md §6.4, APIGW.0308).
type throttle struct {
	limit int // 0: none
	per   time.Duration

	mu      sync.Mutex
	windows map[string]*window
}

type window struct {
	start time.Time
	calls int
}

func newThrottle(limit int, per time.Duration) *throttle {
	return &throttle{limit: limit, per: per, windows: map[string]*window{}}
}

func (t *throttle) allow(project string, now time.Time) bool {
	if t.limit == 0 {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.windows[project]
	if w == nil || now.Sub(w.start) >= t.per {
		w = &window{start: now}
		t.windows[project] = w
	}
	w.calls++
	return w.calls <= t.limit
}

func (t *throttle) message() string {
	n, unit := t.per/time.Second, "second"
	if t.per >= time.Minute && t.per%time.Minute == 0 {
		n, unit = t.per/time.Minute, "minute"
	}
	return fmt.Sprintf("The throttling threshold has been reached: policy user over ratelimit,limit:%d,time:%d %s",
		t.limit, max(n, 1), unit)
}
