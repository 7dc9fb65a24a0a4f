package provision

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// paceFor simulates a fleet that always wants calls: every 20 ms a worker asks. It
// returns when the calls of each project and lane leave, in seconds.
func paceFor(limits Limits, d time.Duration, asks ...BudgetAsk) map[string][]time.Duration {
	states := map[string]*BudgetState{}
	if len(limits.Account) > 0 {
		states[AccountScope] = &BudgetState{}
	}
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	left := map[string][]time.Duration{}
	for n, at := 0, time.Duration(0); at < d; n, at = n+1, at+20*time.Millisecond {
		ask := asks[n%len(asks)]
		if states[ProjectScope(ask.Project)] == nil {
			states[ProjectScope(ask.Project)] = &BudgetState{}
		}
		now := began.Add(at)
		mine := map[string]*BudgetState{ProjectScope(ask.Project): states[ProjectScope(ask.Project)]}
		if a := states[AccountScope]; a != nil {
			mine[AccountScope] = a
		}
		got := limits.allot(now, mine, []BudgetAsk{ask})[ask.Project]
		for lane, slots := range got.Slots {
			for _, slot := range slots {
				key := ask.Project + " " + Lane(lane).String()
				left[key], left["all"] = append(left[key], at+slot), append(left["all"], at+slot)
				left[ask.Project] = append(left[ask.Project], at+slot)
			}
		}
	}
	for _, times := range left {
		slices.Sort(times)
	}
	return left
}

// most returns how many of the times lie in any span.
func mostIn(times []time.Duration, span time.Duration) (most int) {
	for from, to := 0, 0; to < len(times); to++ {
		for times[to]-times[from] >= span {
			from++
		}
		most = max(most, to-from+1)
	}
	return most
}

func limit(calls int, per time.Duration) []RateLimit {
	return []RateLimit{{Name: fmt.Sprintf("%d/%s", calls, per), Calls: calls, Per: per}}
}

func TestNoSpanHoldsMoreCallsThanItsLimit(t *testing.T) {
	a := BudgetAsk{Project: "a", Want: [lanes]int{40, 0}}
	both := BudgetAsk{Project: "a", Want: [lanes]int{40, 40}}
	for _, c := range []struct {
		calls int
		per   time.Duration
		long  time.Duration
	}{{1, time.Second, time.Minute}, {2, time.Second, time.Minute}, {20, time.Second, time.Minute}, {500, time.Second, 20 * time.Second},
		{200, 5 * time.Minute, 20 * time.Minute}, {5, time.Minute, 10 * time.Minute}} {
		for name, asks := range map[string][]BudgetAsk{"creates": {a}, "both lanes": {both}, "two projects": {both, {Project: "b", Want: [lanes]int{3, 3}}}} {
			got := paceFor(Limits{Account: limit(c.calls, c.per)}, c.long, asks...)
			most, rate := mostIn(got["all"], c.per), float64(len(got["all"]))*c.per.Seconds()/c.long.Seconds()
			if most > c.calls || rate < 0.85*float64(c.calls) {
				t.Errorf("%d in %v, %s: %d in one span, %.1f on average", c.calls, c.per, name, most, rate)
			}
			got = paceFor(Limits{Project: limit(c.calls, c.per)}, c.long, asks...)
			if most := mostIn(got["a"], c.per); most > c.calls {
				t.Errorf("a project's %d in %v, %s: %d in one span", c.calls, c.per, name, most)
			}
		}
	}
	several := append(limit(10, time.Second), limit(100, time.Minute)...)
	got := paceFor(Limits{Project: several}, 5*time.Minute, a)["all"]
	if s, m := mostIn(got, time.Second), mostIn(got, time.Minute); s > 10 || m > 100 || len(got) < 430 {
		t.Errorf("of 10 a second and 100 a minute %d and %d, %d in all", s, m, len(got))
	}
}

func TestEachLaneHasItsShareAndTheRestOfTheOther(t *testing.T) {
	for _, c := range []struct {
		name          string
		want          [lanes]int
		creates, read float64 // of all slots, at least
	}{{"both", [lanes]int{30, 30}, 0.75, 0.19}, {"creates alone", [lanes]int{30, 0}, 1, 0}, {"reads alone", [lanes]int{0, 30}, 0, 1},
		{"one read now and then", [lanes]int{30, 1}, 0.75, 0.15}} {
		for _, calls := range []int{2, 20, 100} {
			for name, limits := range map[string]Limits{"account": {Account: limit(calls, time.Second)}, "project": {Project: limit(calls, time.Second)}} {
				got := paceFor(limits, time.Minute, BudgetAsk{Project: "a", Want: c.want})
				all := float64(len(got["all"]))
				creates, reads := float64(len(got["a create"]))/all, float64(len(got["a read"]))/all
				if creates < c.creates || reads < c.read || all < 0.85*60*float64(calls) {
					t.Errorf("%s, %d a second of the %s: %.2f creates, %.2f reads, %.0f in all", c.name, calls, name, creates, reads, all)
				}
			}
		}
	}
}

// What a slow project waits for does not use up what the account has for others,
// and a project with much to do does not keep another from its first call.
func TestAProjectDoesNotHoldUpAnother(t *testing.T) {
	limits := Limits{Account: limit(20, time.Second)}
	states := func() map[string]*BudgetState {
		return map[string]*BudgetState{AccountScope: {}, ProjectScope("slow"): {}, ProjectScope("quick"): {}}
	}
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s, quick, slow := states(), 0, 0
	s[ProjectScope("slow")].Ceiling = Ceiling{Rate: 0.5, Seen: 0.5, Cut: began, Refused: began}
	for at := time.Duration(0); at < 10*time.Second; at += 50 * time.Millisecond {
		got := limits.allot(began.Add(at), s, []BudgetAsk{{Project: "slow", Want: [lanes]int{9, 9}}, {Project: "quick", Want: [lanes]int{30, 0}}})
		quick += len(got["quick"].Slots[LaneCreate])
		slow += len(got["slow"].Slots[LaneCreate]) + len(got["slow"].Slots[LaneRead])
	}
	if quick < 170 || slow < 4 {
		t.Errorf("in 10 s %d calls of the quick project and %d of the slow one", quick, slow)
	}
	s = states()
	for at, again := time.Duration(0), time.Duration(0); at < 3*time.Second; at += 10 * time.Millisecond {
		if at < again {
			continue
		}
		got := limits.allot(began.Add(at), map[string]*BudgetState{AccountScope: s[AccountScope], ProjectScope("slow"): s[ProjectScope("slow")]},
			[]BudgetAsk{{Project: "slow", Want: [lanes]int{1000, 1000}}})
		again = at + min(got["slow"].Again[LaneCreate], got["slow"].Again[LaneRead])
	}
	got := limits.allot(began.Add(3*time.Second), map[string]*BudgetState{AccountScope: s[AccountScope], ProjectScope("quick"): s[ProjectScope("quick")]},
		[]BudgetAsk{{Project: "quick", Want: [lanes]int{1, 0}}})["quick"].Slots[LaneCreate]
	if len(got) != 1 || got[0] > 500*time.Millisecond {
		t.Errorf("the first call of another project waits: %v", got)
	}
}
