package provision

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Budget is a worker's part of the rate budgets that the fleet shares: of the
// account, and of each project. Every call to the cloud waits here first.
//
// Where no limit is set and the cloud refuses nothing, a call passes at once, and
// the worker tells the others twice a second how much it called and hears whether
// that has changed. Where there is a limit, each call gets a slot: a time at which
// it leaves. Slots are given for calls that wait, and only for the next moment, so
// one that is not used is lost and nobody hoards any. What is given to whom, and
// what a 429 teaches, is decided in pace.go and ceiling.go.
//
// A nil Budget has no limits.
type Budget struct {
	Store  BudgetStore
	Limits Limits
	Health *Health
	Log    *slog.Logger
	// Ready returns once there is what calls to a project need beside a slot, which is a
	// token; its errors are those of calls that did not leave. A slot is only for a call
	// that can leave at once: what waits for a login would leave together after it. Nil:
	// there always is.
	Ready func(ctx context.Context, project string) error
	// Waited is told how long a call waited for its slot; may be nil.
	Waited func(Lane, time.Duration)
	// Given is rung when slots were given, so that more may be claimed.
	Given []Bell

	mu     sync.Mutex
	purses map[string]*purse // by project
	wake   Bell
	turned time.Time // when the fleet was last asked
}

// NewBudget returns one that knows nothing yet.
func NewBudget(store BudgetStore, limits Limits, health *Health, log *slog.Logger) *Budget {
	return &Budget{Store: store, Limits: limits, Health: health, Log: log, wake: NewBell(), purses: map[string]*purse{}}
}

// Limits are those that are set.
type Limits struct {
	Account []RateLimit // of all calls
	Project []RateLimit // of the calls to each project
}

// BudgetStore is the fleet's memory of its budgets.
type BudgetStore interface {
	// Budgets returns the state of each scope and the database's time.
	Budgets(ctx context.Context, scopes []string) (map[string]*BudgetState, time.Time, error)
	// SaveBudgets writes all of the states or, if one of them is not the last one
	// any more, none: ok is false then.
	SaveBudgets(ctx context.Context, states map[string]*BudgetState) (ok bool, err error)
}

// BudgetState is what the fleet knows about a scope.
type BudgetState struct {
	Version int64 // of the row it was read from
	Ceiling Ceiling
	Pace    Pace
}

// AccountScope is the scope of all calls, ProjectScope that of a project's.
const AccountScope = "account"

// ProjectScope names the scope of a project's calls.
func ProjectScope(project string) string { return "project:" + project }

// BudgetAsk is what a worker tells of a project, and how many slots it wants.
type BudgetAsk struct {
	Project       string
	Sent, Refused int
	RetryAfter    time.Duration
	Want          [lanes]int
}

// Allotment is what it gets. Times are from the database's now.
type Allotment struct {
	Limited bool // calls need slots
	Slots   [lanes][]time.Duration
	Again   [lanes]time.Duration // when to ask for more, where not all was given
	Rate    float64              // calls a second that all limits allow together
	Learnt  float64              // calls a second that the cloud allows, as far as 429s told; 0: nothing is known
	Since   time.Time            // of the first 429
}

// purse is what this worker knows about a project and has in hand.
type purse struct {
	heard     time.Time // when the fleet was last asked; zero: never
	limited   bool
	rate      float64
	learnt    float64
	throttled bool // told in the log
	waiting   [lanes][]*waiter
	anew      [lanes]bool      // the next slot is for what has not begun
	again     [lanes]time.Time // no slots are to be had before
	given     [lanes]int       // slots, each forgotten within a second or so
	givenAt   time.Time
	told      BudgetAsk // what is to be told
}

// waiter is a call that waits for its slot. The zero time means at once.
type waiter struct {
	slot  chan time.Time
	begun bool // it belongs to an errand that has begun
}

const (
	// budgetNews is how often a worker that calls tells and asks the fleet, and so
	// how long a limit that arises may stay unknown to it.
	budgetNews = 500 * time.Millisecond
	// budgetStale is how old that may be for a call to pass without asking first.
	budgetStale = 2 * budgetNews
	// askEvery collects the calls that begin to wait at the same time.
	askEvery = 20 * time.Millisecond
	// slotGrace is how long after its time a slot is good.
	slotGrace = 100 * time.Millisecond
	// readPatience bounds the wait of a read that begins something, so that a round of
	// reads does not wait for one project's slots.
	readPatience = 2 * time.Second
)

// errNoSlot: the call did not leave because the rate budget had no slot in time.
var errNoSlot = errors.New("the rate budget had no slot in time")

// Wait returns when a call to the project may leave. It waits for at most half of
// the time that ctx leaves, so that the call has the other half; one of an errand that
// has begun waits for as long as it takes.
func (b *Budget) Wait(ctx context.Context, project string, lane Lane) error {
	if b == nil || b.passes(project) {
		return nil
	}
	began := time.Now()
	err := b.wait(ctx, project, lane)
	if b.Waited != nil {
		b.Waited(lane, time.Since(began))
	}
	if errors.Is(err, errNoSlot) {
		return &CloudError{Op: "wait for the rate budget", Class: ClassNotSent, Err: err,
			Message: fmt.Sprintf("no call to project %s was due within %s", project, time.Since(began).Round(time.Millisecond))}
	}
	return err
}

// passes counts a call that needs no slot.
func (b *Budget) passes(project string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.purse(project)
	if p.limited || time.Since(p.heard) > budgetStale {
		return false
	}
	p.told.Sent++
	if time.Since(p.heard) > budgetNews {
		b.wake.Ring()
	}
	return true
}

func (b *Budget) wait(ctx context.Context, project string, lane Lane) error {
	e := errandOf(ctx)
	if err := b.ready(ctx, project); err != nil {
		return err
	}
	patience := time.NewTimer(firstPatience(ctx, lane))
	defer patience.Stop()
	for {
		slot, err := b.slot(ctx, project, lane, e, patience)
		if err != nil || slot.IsZero() {
			return err
		}
		Bell(nil).wait(ctx, time.Until(slot))
		if err := b.ready(ctx, project); err != nil { // its token may have been refused meanwhile
			return err
		}
		switch {
		case ctx.Err() != nil:
			return errors.Join(errNoSlot, ctx.Err())
		case time.Since(slot) < slotGrace:
			b.mu.Lock()
			b.purse(project).told.Sent++
			b.mu.Unlock()
			return nil
		}
	}
}

func (b *Budget) ready(ctx context.Context, project string) error {
	if b.Ready == nil {
		return nil
	}
	if e := errandOf(ctx); e != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, e.until)
		defer cancel()
	}
	return b.Ready(ctx, project)
}

// firstPatience is how long a call waits at first.
func firstPatience(ctx context.Context, lane Lane) time.Duration {
	if e := errandOf(ctx); e.hasBegun() {
		return e.patience()
	}
	limit := time.Hour
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline) / 2
	}
	if lane == LaneRead {
		limit = min(limit, readPatience)
	}
	return limit
}

// slot waits in the queue until it is given a slot. When its patience has ended, an
// errand that has begun goes on for as long as its claim can be kept.
func (b *Budget) slot(ctx context.Context, project string, lane Lane, e *errand, patience *time.Timer) (slot time.Time, err error) {
	w := b.queue(project, lane, e.hasBegun())
	for {
		select {
		case slot = <-w.slot:
			return slot, nil
		case <-patience.C:
			if e.hasBegun() && e.kept(ctx) {
				patience.Reset(e.patience())
				continue
			}
			err = errNoSlot
		case <-e.over():
			err = errNoSlot
		case <-ctx.Done():
			err = errors.Join(errNoSlot, ctx.Err())
		}
		b.leave(project, lane, w)
		return slot, err
	}
}

func (b *Budget) queue(project string, lane Lane, begun bool) *waiter {
	w := &waiter{slot: make(chan time.Time, 1), begun: begun}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.purse(project)
	p.waiting[lane] = append(p.waiting[lane], w)
	b.wake.Ring()
	return w
}

func (b *Budget) leave(project string, lane Lane, w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.purse(project)
	p.waiting[lane] = slices.DeleteFunc(p.waiting[lane], func(other *waiter) bool { return other == w })
}

// Answered learns what the cloud answered to a call that Wait let pass.
func (b *Budget) Answered(project string, err error) {
	if b == nil || err == nil {
		return
	}
	if ce := AsCloudError(err); ce.Class == ClassRate {
		b.mu.Lock()
		defer b.mu.Unlock()
		p := b.purse(project)
		p.told.Refused++
		p.told.RetryAfter = max(p.told.RetryAfter, ce.RetryAfter)
		b.wake.Ring()
	}
}

// purse returns what is known of a project; b.mu is held.
func (b *Budget) purse(project string) *purse {
	if b.purses[project] == nil {
		b.purses[project] = &purse{told: BudgetAsk{Project: project}}
	}
	return b.purses[project]
}

// most bounds what may be claimed of each project to what can be called soon:
// about as much as got slots lately and some more, and nothing while none are to be
// had. Projects without a limit are not touched.
func (b *Budget) most(lane Lane, projects []string, most map[string]int) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, project := range projects {
		p := b.purses[project]
		if p == nil || !p.limited {
			continue
		}
		p.forget(time.Now())
		n := max(1, min(int(p.rate*reach.Seconds()), 2*p.given[lane]+2)) - p.beginning(lane)
		if time.Until(p.again[lane]) > reach {
			n = 0
		}
		if known, bounded := most[project]; bounded {
			n = min(n, known)
		}
		most[project] = max(0, n)
	}
}

// beginning counts what waits and belongs to nothing that has begun.
func (p *purse) beginning(lane Lane) (n int) {
	for _, w := range p.waiting[lane] {
		if !w.begun {
			n++
		}
	}
	return n
}

// next takes the call that gets the next slot. What has begun and what has not take
// turns, so that neither keeps the other waiting for ever.
func (p *purse) next(lane Lane) *waiter {
	n := max(0, slices.IndexFunc(p.waiting[lane], func(w *waiter) bool { return w.begun != p.anew[lane] }))
	w := p.waiting[lane][n]
	p.waiting[lane], p.anew[lane] = slices.Delete(p.waiting[lane], n, n+1), w.begun
	return w
}

// scarce reports whether a project's reads may get hardly a slot in the time that one
// waits for it, so that what comes first in a round is all that gets any.
func (b *Budget) scarce(project string) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.purse(project)
	return p.limited && p.rate*shares[LaneRead]*readPatience.Seconds() < 1
}

// exhausted bounds claims of projects that get no slot soon to nothing. Others are
// not touched: one call may read for many claims.
func (b *Budget) exhausted(lane Lane, projects []string, most map[string]int) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, project := range projects {
		if p := b.purses[project]; p != nil && p.limited && time.Until(p.again[lane]) > reach {
			most[project] = 0
		}
	}
}

// forget lets what was given fade within a second or so.
func (p *purse) forget(now time.Time) {
	if now.Sub(p.givenAt) > time.Second {
		for lane := range p.given {
			p.given[lane] /= 2
		}
		p.givenAt = now
	}
}

// Ceilings returns how fast the cloud lets each project be called, in calls a
// second, as far as it is known.
func (b *Budget) Ceilings() map[string]float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]float64{}
	for project, p := range b.purses {
		if p.learnt > 0 {
			out[project] = p.learnt
		}
	}
	return out
}
