package store_test

import (
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

func TestBudgetsComeBackAsTheyWereSaved(t *testing.T) {
	d := open(t)
	scopes := []string{provision.AccountScope, provision.ProjectScope("p")}
	states, now, err := d.Budgets(t.Context(), scopes)
	d.must(err)
	if len(states) != 2 || !reflect.DeepEqual(*states[scopes[1]], provision.BudgetState{}) {
		t.Fatalf("at first: %+v", states[scopes[1]])
	}
	if off := time.Since(now).Abs(); off > time.Minute {
		t.Errorf("the database's time is %v off", off)
	}
	now = now.Truncate(time.Microsecond)
	at := func(n int) time.Time { return now.Add(time.Duration(n) * time.Second) }
	want := provision.BudgetState{Version: 1,
		Ceiling: provision.Ceiling{Rate: 1.5, Seen: 2, Cut: at(1), Refused: at(2), Since: at(3), Hold: at(4), Sent: 2.5, SentAt: at(5), Accepted: 7},
		Pace: provision.Pace{Next: map[string]time.Time{"20/1s": at(6)},
			Lanes: [2]provision.LanePace{{Next: at(7), Wanted: at(8)}, {Next: at(9)}}}}
	*states[scopes[1]] = want
	states[scopes[1]].Version = 0
	ok, err := d.SaveBudgets(t.Context(), states)
	d.must(err)
	if !ok {
		t.Fatal("not saved")
	}
	got, _, err := d.Budgets(t.Context(), scopes)
	d.must(err)
	g := *got[scopes[1]]
	for _, moment := range []*time.Time{&g.Ceiling.Cut, &g.Ceiling.Refused, &g.Ceiling.Since, &g.Ceiling.Hold, &g.Ceiling.SentAt} {
		*moment = moment.In(now.Location())
	}
	for i := range g.Pace.Lanes {
		g.Pace.Lanes[i].Next, g.Pace.Lanes[i].Wanted = g.Pace.Lanes[i].Next.In(time.Local), g.Pace.Lanes[i].Wanted.In(time.Local)
		want.Pace.Lanes[i].Next, want.Pace.Lanes[i].Wanted = want.Pace.Lanes[i].Next.In(time.Local), want.Pace.Lanes[i].Wanted.In(time.Local)
	}
	if next := g.Pace.Next["20/1s"]; !next.Equal(at(6)) || !reflect.DeepEqual(g.Ceiling, want.Ceiling) || !reflect.DeepEqual(g.Pace.Lanes, want.Pace.Lanes) || g.Version != 1 {
		t.Errorf("saved %+v\nread  %+v", want, g)
	}
	// What is old is not written, and nothing beside it.
	states[scopes[0]].Version = 1 // this one would be right
	if ok, err = d.SaveBudgets(t.Context(), states); ok || err != nil {
		t.Errorf("an old state was written: %v, %v", ok, err)
	}
	if version := one[int64](d, `select version from budgets where scope = 'account'`); version != 1 {
		t.Errorf("the account's row has version %d: half of what was to be saved is", version)
	}
}

func TestNoUpdateOfABudgetIsLost(t *testing.T) {
	d := open(t)
	var writers sync.WaitGroup
	var tries atomic.Int64
	const each = 25
	for n := range 8 {
		writers.Go(func() {
			scopes := []string{provision.ProjectScope("a"), provision.ProjectScope("b")}
			if n%2 == 1 {
				scopes[0], scopes[1] = scopes[1], scopes[0]
			}
			for saved := 0; saved < each; tries.Add(1) {
				states, _, err := d.Budgets(t.Context(), scopes)
				if err != nil {
					t.Error(err)
					return
				}
				for _, s := range states {
					s.Ceiling.Accepted++
				}
				ok, err := d.SaveBudgets(t.Context(), states)
				if err != nil {
					t.Error(err)
					return
				}
				if ok {
					saved++
				}
			}
		})
	}
	writers.Wait()
	if got := one[int](d, `select min(accepted) from budgets`); got != 8*each {
		t.Errorf("%d of %d are counted", got, 8*each)
	}
	t.Logf("%d tries for %d updates", tries.Load(), 8*each)
}
