package provision

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memory is the fleet's memory without a database.
type memory struct {
	mu     sync.Mutex
	states map[string]BudgetState
	asked  int
	down   bool
	ahead  time.Duration // of the database's clock
}

func (m *memory) runsAhead(by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ahead = by
}

func (m *memory) Budgets(_ context.Context, scopes []string) (map[string]*BudgetState, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, time.Time{}, errors.New("the database is away")
	}
	m.asked++
	out := map[string]*BudgetState{}
	for _, scope := range scopes {
		s := m.states[scope]
		s.Pace.Next = maps.Clone(s.Pace.Next)
		out[scope] = &s
	}
	return out, time.Now().Add(m.ahead), nil
}

func (m *memory) SaveBudgets(_ context.Context, states map[string]*BudgetState) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for scope, s := range states {
		if m.states[scope].Version != s.Version {
			return false, nil
		}
	}
	for scope, s := range states {
		s.Version++
		m.states[scope] = *s
	}
	return true, nil
}

// withBudgets runs a fleet of n budgets in a bubble of fake time.
func withBudgets(t *testing.T, n int, limits Limits, do func(t *testing.T, m *memory, fleet []*Budget)) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{states: map[string]BudgetState{}}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		fleet := make([]*Budget, n)
		for i := range fleet {
			fleet[i] = NewBudget(m, limits, quietHealth(), slog.New(slog.DiscardHandler))
			running.Go(func() { fleet[i].Run(ctx) })
		}
		do(t, m, fleet)
		stop()
		running.Wait()
	})
}

func TestWithoutALimitCallsPassAndAreToldTwiceASecond(t *testing.T) {
	withBudgets(t, 1, Limits{}, func(t *testing.T, m *memory, fleet []*Budget) {
		began := time.Now()
		for range 10_000 {
			if err := fleet[0].Wait(t.Context(), "p", LaneCreate); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("10,000 calls of 1 ms took %v", took)
		}
		if m.asked > 25 {
			t.Errorf("%d questions in 10 s", m.asked)
		}
		if sent := m.states[ProjectScope("p")].Ceiling.Sent; sent < 800 || sent > 1600 {
			t.Errorf("the fleet knows of %.0f calls in the last second, want about 1,000", sent)
		}
	})
}

func TestA429SlowsTheWholeFleetDown(t *testing.T) {
	withBudgets(t, 3, Limits{}, func(t *testing.T, _ *memory, fleet []*Budget) {
		calls := func(b *Budget, project string, d time.Duration) (n int) {
			for began := time.Now(); time.Since(began) < d; n++ {
				if err := b.Wait(t.Context(), project, LaneCreate); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Millisecond)
			}
			return n
		}
		for _, b := range fleet {
			calls(b, "p", time.Second)
		}
		fleet[0].Answered("p", &CloudError{Class: ClassRate})
		time.Sleep(budgetNews)
		_ = calls(fleet[1], "p", 100*time.Millisecond) // it hears of it when it calls
		time.Sleep(budgetNews)
		if n := calls(fleet[1], "p", time.Second); n > 70 {
			t.Errorf("another worker makes %d calls in a second", n)
		}
		if n := calls(fleet[1], "q", time.Second); n < 90 {
			t.Errorf("of another project it makes only %d", n)
		}
	})
}

// A primary whose clock was an hour ahead leaves no trace once another one took over.
func TestTheDatabasesClockMayGoBack(t *testing.T) {
	calls := func(t *testing.T, b *Budget, lane Lane, d time.Duration) (n int) {
		t.Helper()
		for began := time.Now(); time.Since(began) < d; n++ {
			call, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err := b.Wait(call, "p", lane)
			if cancel(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		return n
	}
	withBudgets(t, 1, Limits{Project: limit(20, time.Second)}, func(t *testing.T, m *memory, fleet []*Budget) {
		m.runsAhead(time.Hour)
		calls(t, fleet[0], LaneRead, 5*time.Second)
		calls(t, fleet[0], LaneCreate, 5*time.Second)
		m.runsAhead(0)
		calls(t, fleet[0], LaneCreate, 5*time.Second)
		if n := calls(t, fleet[0], LaneCreate, 10*time.Second); n < 190 { // nobody else wants any
			t.Errorf("%d calls in 10 s of a limit of 20 in each", n)
		}
	})
	withBudgets(t, 1, Limits{}, func(t *testing.T, m *memory, fleet []*Budget) {
		m.runsAhead(time.Hour)
		calls(t, fleet[0], LaneCreate, 2*time.Second)
		fleet[0].Answered("p", &CloudError{Class: ClassRate, RetryAfter: maxHold})
		time.Sleep(time.Second)
		m.runsAhead(0)
		back := time.Now()
		for held := true; held; {
			call, cancel := context.WithTimeout(t.Context(), time.Second)
			held = fleet[0].Wait(call, "p", LaneCreate) != nil
			cancel()
		}
		if took := time.Since(back); took > maxHold+5*time.Second {
			t.Fatalf("the cloud asked for %v, and no call leaves for %v", maxHold, took)
		}
		calls(t, fleet[0], LaneCreate, time.Second)
		before := fleet[0].Ceilings()["p"]
		calls(t, fleet[0], LaneCreate, 5*time.Second)
		if after := fleet[0].Ceilings()["p"]; before == 0 || after < 2*before {
			t.Errorf("the ceiling rises from %.0f to %.0f calls a second in 5 s", before, after)
		}
	})
}

// TestNoSlotIsSpentWithoutAToken: calls that wait for a login do not leave together
// once it is over, be it the first one or one that replaces a refused token.
func TestNoSlotIsSpentWithoutAToken(t *testing.T) {
	withBudgets(t, 1, Limits{Account: []RateLimit{{Name: "20/1s", Calls: 20, Per: time.Second}}}, func(t *testing.T, _ *memory, fleet []*Budget) {
		began := time.Now()
		token := func(ctx context.Context, _ string) error { // there is none for the first 3 s, nor from 10 s to 13 s
			if at := time.Since(began) % (10 * time.Second); at < 3*time.Second {
				Bell(nil).wait(ctx, 3*time.Second-at)
			}
			return ctx.Err()
		}
		fleet[0].Ready = token
		var mu sync.Mutex
		var calls []time.Time
		var places sync.WaitGroup
		for range 64 {
			places.Go(func() {
				for time.Since(began) < 18*time.Second {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					err := fleet[0].Wait(ctx, "p", LaneCreate)
					if err == nil {
						err = token(ctx, "p") // as the client gets it
					}
					if err == nil {
						mu.Lock()
						calls = append(calls, time.Now())
						mu.Unlock()
					}
					cancel()
				}
			})
		}
		places.Wait()
		for n := 20; n < len(calls); n++ {
			if span := calls[n].Sub(calls[n-20]); span < time.Second {
				t.Fatalf("21 calls within %v, %v after the start", span, calls[n-20].Sub(began))
			}
		}
		if len(calls) < 200 {
			t.Errorf("only %d calls", len(calls))
		}
	})
}

func TestACallWithoutASlotInTimeIsNotSent(t *testing.T) {
	withBudgets(t, 1, Limits{Project: []RateLimit{{Name: "1/1m", Calls: 1, Per: time.Minute}}}, func(t *testing.T, m *memory, fleet []*Budget) {
		b := fleet[0]
		if err := b.Wait(t.Context(), "p", LaneCreate); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		err := b.Wait(ctx, "p", LaneCreate)
		if took := time.Since(began); took != 5*time.Second || AsCloudError(err).Class != ClassNotSent || notSent(err) {
			t.Errorf("after %v: %v", took, err)
		}
		r := DefaultPolicy().AfterCreate(CreateClaim{Attempt: 3}, Created{}, err)
		if r.Outcome != OutcomeNotExecuted || r.Next.State != Pending || r.Next.Delay > time.Second {
			t.Errorf("it is handed back as %+v", r)
		}
		most := map[string]int{}
		if b.most(LaneCreate, []string{"p", "q"}, most); len(most) != 1 || most["p"] != 0 {
			t.Errorf("while there are no slots for p, what may be claimed is %v", most)
		}
		b.leaveNobody(t)
		// Without the database nothing is sent that needs a slot, and it goes on after.
		m.mu.Lock()
		m.down = true
		m.mu.Unlock()
		time.Sleep(time.Minute)
		soon, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := b.Wait(soon, "p", LaneCreate); err == nil {
			t.Error("a call left although nobody knows whether it may")
		}
		m.mu.Lock()
		m.down = false
		m.mu.Unlock()
		if err := b.Wait(t.Context(), "p", LaneCreate); err != nil {
			t.Error(err)
		}
	})
}

// leaveNobody fails if somebody is left who waits.
func (b *Budget) leaveNobody(t *testing.T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for project, p := range b.purses {
		if len(p.waiting[LaneCreate])+len(p.waiting[LaneRead]) > 0 {
			t.Errorf("calls to %s still wait", project)
		}
	}
}

func BenchmarkACallWithoutALimit(b *testing.B) {
	budget := NewBudget(&memory{states: map[string]BudgetState{}}, Limits{}, quietHealth(), slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { budget.Run(ctx) })
	for b.Loop() {
		if err := budget.Wait(ctx, "p", LaneCreate); err != nil {
			b.Fatal(err)
		}
	}
	stop()
	running.Wait()
}
