package ddsfake

import (
	"maps"
	"strconv"
	"sync"
	"time"
)

// noAnswer counts calls that got no status, in Stats.Statuses.
const noAnswer = "none"

// Stats counts what the cloud has seen since it was made. Calls to /__ are not counted.
type Stats struct {
	Calls           map[Op]int            `json:"calls"`
	Statuses        map[string]int        `json:"statuses"` // by HTTP status; "none": no answer
	StatusesByOp    map[Op]map[string]int `json:"statuses_by_call"`
	Codes           map[string]int        `json:"codes"`          // by error code answered
	Logins          int                   `json:"logins"`         // attempts that reached IAM
	LoginFailures   int                   `json:"login_failures"` // wrong user or password, or locked
	TokensIssued    int                   `json:"tokens_issued"`
	CreatesReceived int                   `json:"creates_received"` // that reached the service
	CreatesExecuted int                   `json:"creates_executed"` // that made an instance
	Throttled       int                   `json:"throttled"`        // by Config.Throttle
	Faults          map[Kind]int          `json:"faults"`           // by kind; "scripted": without one
	Concurrent      int                   `json:"concurrent"`       // now
	PeakConcurrent  int                   `json:"peak_concurrent"`
	PeakByOp        map[Op]int            `json:"peak_by_call"`
	MaxPerSecond    int                   `json:"max_per_second"` // calls in the busiest second of the clock
	MaxPerSecondOp  map[Op]int            `json:"max_per_second_by_call"`
	MaxInAnySecond  int                   `json:"max_in_any_second"` // calls of DDS, wherever the second begins
}

type stats struct {
	mu      sync.Mutex
	s       Stats
	running map[Op]int
	second  int64
	inSec   int
	inSecOp map[Op]int
	recent  []time.Time // calls of DDS within the last second
}

func newStats() *stats {
	return &stats{
		s: Stats{
			Calls: map[Op]int{}, Statuses: map[string]int{}, StatusesByOp: map[Op]map[string]int{}, Codes: map[string]int{},
			Faults: map[Kind]int{}, PeakByOp: map[Op]int{}, MaxPerSecondOp: map[Op]int{},
		},
		running: map[Op]int{}, inSecOp: map[Op]int{},
	}
}

func (t *stats) begin(op Op, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.s.Calls[op]++
	t.s.Concurrent++
	t.s.PeakConcurrent = max(t.s.PeakConcurrent, t.s.Concurrent)
	t.running[op]++
	t.s.PeakByOp[op] = max(t.s.PeakByOp[op], t.running[op])
	if op != OpLogin {
		from := 0
		for from < len(t.recent) && now.Sub(t.recent[from]) >= time.Second {
			from++
		}
		t.recent = append(t.recent[from:], now)
		t.s.MaxInAnySecond = max(t.s.MaxInAnySecond, len(t.recent))
	}
	if second := now.Unix(); second != t.second {
		t.second, t.inSec = second, 0
		clear(t.inSecOp)
	}
	t.inSec++
	t.inSecOp[op]++
	t.s.MaxPerSecond = max(t.s.MaxPerSecond, t.inSec)
	t.s.MaxPerSecondOp[op] = max(t.s.MaxPerSecondOp[op], t.inSecOp[op])
}

func (t *stats) end(op Op, out *outcome) {
	status := noAnswer
	if out.status != 0 {
		status = strconv.Itoa(out.status)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.s.Concurrent--
	t.running[op]--
	t.s.Statuses[status]++
	if t.s.StatusesByOp[op] == nil {
		t.s.StatusesByOp[op] = map[string]int{}
	}
	t.s.StatusesByOp[op][status]++
	if out.code != "" {
		t.s.Codes[out.code]++
	}
	if out.fault != "" {
		t.s.Faults[out.fault]++
	}
}

func (t *stats) count(counter *int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*counter++
}

func (t *stats) countLogin()          { t.count(&t.s.Logins) }
func (t *stats) countLoginFailure()   { t.count(&t.s.LoginFailures) }
func (t *stats) countToken()          { t.count(&t.s.TokensIssued) }
func (t *stats) countCreateReceived() { t.count(&t.s.CreatesReceived) }
func (t *stats) countCreateExecuted() { t.count(&t.s.CreatesExecuted) }
func (t *stats) countThrottled()      { t.count(&t.s.Throttled) }

// Stats returns the counters of this moment.
func (c *Cloud) Stats() Stats {
	c.stats.mu.Lock()
	defer c.stats.mu.Unlock()
	s := c.stats.s
	s.Calls, s.Statuses, s.Codes, s.Faults = maps.Clone(s.Calls), maps.Clone(s.Statuses), maps.Clone(s.Codes), maps.Clone(s.Faults)
	s.PeakByOp, s.MaxPerSecondOp = maps.Clone(s.PeakByOp), maps.Clone(s.MaxPerSecondOp)
	s.StatusesByOp = make(map[Op]map[string]int, len(s.StatusesByOp))
	for op, statuses := range c.stats.s.StatusesByOp {
		s.StatusesByOp[op] = maps.Clone(statuses)
	}
	return s
}
