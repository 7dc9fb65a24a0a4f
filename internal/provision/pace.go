package provision

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// This file decides when calls may leave that keep rate limits, as functions
// without I/O. Slots are spaced as in GCRA: a limit knows the time at which its
// next call would be due if the calls came evenly.

// RateLimit allows at most Calls in any span of Per.
type RateLimit struct {
	Name  string // as it was given: "20/s"; it names the limit in the database
	Calls int
	Per   time.Duration
}

// burst is how many calls may leave at once, and interval the time between those
// after them: a tenth at once and the others evenly, so that no span of Per, wherever
// it begins, holds more than Calls.
func (l RateLimit) burst() int { return 1 + (l.Calls-1)/10 }

func (l RateLimit) interval() time.Duration {
	n := time.Duration(l.Calls - l.burst() + 1)
	return (l.Per + n - 1) / n
}

// Lane is what a call is for. Each lane has its share while both want calls; the
// other may use what one leaves.
type Lane int

const (
	LaneCreate Lane = iota // creates go first
	LaneRead               // looks, polls, audits and deletions
	lanes
)

// shares of the lanes while both of them want calls.
var shares = [lanes]float64{LaneCreate: 0.8, LaneRead: 0.2}

func (l Lane) String() string { return [lanes]string{"create", "read"}[l] }

// How far ahead slots are given. A worker gets those of the next slice; the first
// for each project and lane may lie within reach, so that whoever asks for one
// takes his place in the queue. Two gates that open within skew of each other are
// taken for one; otherwise what waits for the later one would hold up the other.
const (
	slice = 250 * time.Millisecond
	reach = time.Second
	skew  = 50 * time.Millisecond
)

// Pace is when the calls of a scope may leave, on the database's clock.
type Pace struct {
	Next  map[string]time.Time `json:"next,omitempty"` // by limit
	Lanes [lanes]LanePace      `json:"lanes"`
}

// LanePace is when a lane may call, and when it last wanted to.
type LanePace struct {
	Next   time.Time `json:"next"`
	Wanted time.Time `json:"wanted"`
}

// gate is one thing that a call has to pass: a limit, or a lane's share of it.
type gate struct {
	next      time.Time
	interval  time.Duration
	tolerance time.Duration // how far ahead of its even time a call may pass
}

// gateOf makes one out of when its next call is due. It may not be due later than that
// of a call which was let through just now: the database's clock was ahead then.
func gateOf(now, next time.Time, interval, tolerance time.Duration) *gate {
	return &gate{next: earlier(next, now.Add(reach+tolerance+interval)), interval: interval, tolerance: tolerance}
}

func (g gate) opens(now time.Time) time.Time { return later(now, g.next.Add(-g.tolerance)) }

// pass counts a call that leaves at t.
func (g *gate) pass(t time.Time) { g.next = later(t, g.next).Add(g.interval) }

// scopeGates are the gates of one scope during one allotment.
type scopeGates struct {
	limits map[string]*gate
	lanes  [lanes]*gate // nil while the other lane wants nothing
	hold   time.Time    // nothing leaves before
}

// catchUp takes back what lies ahead of now: the database's clock may have been ahead
// before it failed over.
func (s *BudgetState) catchUp(now time.Time) {
	c := &s.Ceiling
	for _, past := range []*time.Time{&c.Cut, &c.Refused, &c.Since, &c.SentAt, &s.Pace.Lanes[LaneCreate].Wanted, &s.Pace.Lanes[LaneRead].Wanted} {
		*past = earlier(*past, now)
	}
	c.Hold = earlier(c.Hold, now.Add(maxHold))
}

// gates opens a scope's gates at now. rate is what was learnt, 0: nothing.
func (s *BudgetState) gates(now time.Time, limits []RateLimit) *scopeGates {
	g := &scopeGates{limits: map[string]*gate{}, hold: s.Ceiling.Hold}
	for _, l := range limits {
		g.limits[l.Name] = gateOf(now, s.Pace.Next[l.Name], l.interval(), time.Duration(l.burst()-1)*l.interval())
	}
	if rate := s.Ceiling.At(now); rate > 0 {
		g.limits[learnt] = gateOf(now, s.Pace.Next[learnt], time.Duration(float64(time.Second)/rate), 0)
	}
	slowest := time.Duration(0)
	for _, l := range g.limits {
		slowest = max(slowest, l.interval)
	}
	for lane := range lanes {
		other := s.Pace.Lanes[1-lane]
		if slowest > 0 && now.Sub(other.Wanted) < max(time.Second, 10*slowest) {
			g.lanes[lane] = gateOf(now, s.Pace.Lanes[lane].Next, time.Duration(float64(slowest)/shares[lane]), time.Second)
		}
	}
	return g
}

// learnt names the limit that 429s taught, among those that were given.
const learnt = "learnt"

// limited reports whether calls of the scope need slots.
func (g *scopeGates) limited() bool { return len(g.limits) > 0 }

// opens is when a call of the lane may leave, as far as the limits go and as far as
// its share does.
func (g *scopeGates) opens(now time.Time, lane Lane) (limits, share time.Time) {
	limits = later(now, g.hold)
	for _, l := range g.limits {
		limits = later(limits, l.opens(now))
	}
	if share = now; g.lanes[lane] != nil {
		share = g.lanes[lane].opens(now)
	}
	return limits, share
}

func (g *scopeGates) pass(t time.Time, lane Lane) {
	for _, l := range g.limits {
		l.pass(t)
	}
	if g.lanes[lane] != nil {
		g.lanes[lane].pass(t)
	}
}

// keep writes back what the gates have become.
func (s *BudgetState) keep(g *scopeGates, now time.Time) {
	next := map[string]time.Time{}
	for name, t := range s.Pace.Next { // of workers with other settings, while they matter
		if t.After(now) {
			next[name] = t
		}
	}
	for name, l := range g.limits {
		next[name] = l.next
	}
	s.Pace.Next = next
	for lane, l := range g.lanes {
		if l != nil {
			s.Pace.Lanes[lane].Next = l.next
		}
	}
}

// slot returns when the next call of the lane may leave, or when to ask again if
// something else has to come first. account may be without limits.
func slot(now time.Time, lane Lane, account, project *scopeGates, within time.Duration) (at time.Time, ok bool) {
	shared, accountShare := account.opens(now, lane)
	own, ownShare := project.opens(now, lane)
	at = later(later(shared, accountShare), later(own, ownShare))
	switch {
	case account.limited() && at.Sub(shared) > skew, // others may use the account's slots until then
		project.limited() && ownShare.Sub(later(own, shared)) > skew: // and the other lane the project's
		return at.Add(-skew), false
	case at.Sub(now) > within:
		return at.Add(-within / 2), false // then there are some to be had at once
	}
	account.pass(later(now, shared), lane)
	project.pass(at, lane)
	return at, true
}

// allot gives slots to those who ask: one project after the other in turns, and in
// each turn creates first. It changes the states.
func (b Limits) allot(now time.Time, states map[string]*BudgetState, asks []BudgetAsk) map[string]Allotment {
	open := map[string]*scopeGates{}
	account := &scopeGates{}
	got := map[string]Allotment{}
	shared := states[AccountScope]
	for _, ask := range asks {
		scope := ProjectScope(ask.Project)
		for lane := range lanes {
			if ask.Want[lane] == 0 {
				continue
			}
			states[scope].Pace.Lanes[lane].Wanted = now
			// What the project cannot use is not wanted of the account.
			own, share := states[scope].gates(now, b.Project).opens(now, lane)
			if shared != nil && later(own, share).Sub(now) <= slice {
				shared.Pace.Lanes[lane].Wanted = now
			}
		}
	}
	for scope, s := range states {
		limits := b.Project
		if scope == AccountScope {
			limits = b.Account
		}
		open[scope] = s.gates(now, limits)
	}
	if shared != nil {
		account = open[AccountScope]
	}
	for _, ask := range asks {
		s, g := states[ProjectScope(ask.Project)], open[ProjectScope(ask.Project)]
		got[ask.Project] = Allotment{Limited: g.limited() || account.limited(), Rate: pace(g, account), Learnt: s.Ceiling.At(now), Since: s.Ceiling.Since}
	}
	for turn, more := 0, true; more; turn++ {
		more = false
		for _, ask := range asks {
			a := got[ask.Project]
			for lane := range lanes {
				if !a.Limited || turn >= ask.Want[lane] || len(a.Slots[lane]) < turn {
					continue
				}
				within := slice
				if turn == 0 {
					within = reach
				}
				at, ok := slot(now, lane, account, open[ProjectScope(ask.Project)], within)
				if !ok {
					a.Again[lane] = at.Sub(now)
					continue
				}
				a.Slots[lane] = append(a.Slots[lane], at.Sub(now))
				more = true
			}
			got[ask.Project] = a
		}
	}
	for scope, s := range states {
		s.keep(open[scope], now)
	}
	return got
}

// pace is how many calls a second the scopes allow together; 0: any number.
func pace(scopes ...*scopeGates) (rate float64) {
	var intervals []time.Duration
	for _, g := range scopes {
		for l := range maps.Values(g.limits) {
			intervals = append(intervals, l.interval)
		}
	}
	if len(intervals) == 0 {
		return 0
	}
	return float64(time.Second) / float64(cmp.Or(slices.Max(intervals), 1))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
