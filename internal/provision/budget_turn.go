package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Run asks the fleet for slots until ctx ends.
func (b *Budget) Run(ctx context.Context) {
	if b == nil {
		return
	}
	failures := 0
	for ctx.Err() == nil {
		b.wake.wait(ctx, b.untilTurn())
		Bell(nil).wait(ctx, askEvery-time.Since(b.turned))
		err := b.turn(ctx)
		b.Health.Report("rate budgets", err)
		if failures++; err == nil {
			failures = 0
			continue
		}
		Bell(nil).wait(ctx, expDelay(pauseMin, pauseMax, failures))
	}
}

// untilTurn is the time until there is something to tell or to ask.
func (b *Budget) untilTurn() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait := time.Minute
	for _, p := range b.purses {
		if p.told.Sent > 0 {
			wait = min(wait, time.Until(p.heard.Add(budgetNews)))
		}
		for lane := range lanes {
			if len(p.waiting[lane]) > 0 {
				wait = min(wait, time.Until(p.again[lane]))
			}
		}
	}
	return max(wait, 0)
}

// turn tells the fleet what was called, asks for slots and gives them to the calls
// that wait.
func (b *Budget) turn(ctx context.Context) error {
	asks := b.asks()
	b.turned = time.Now()
	if len(asks) == 0 {
		return nil
	}
	scopes := make([]string, 0, len(asks)+1)
	if len(b.Limits.Account) > 0 {
		scopes = append(scopes, AccountScope)
	}
	for _, ask := range asks {
		scopes = append(scopes, ProjectScope(ask.Project))
	}
	got, read, err := b.ask(ctx, scopes, asks)
	if err != nil {
		b.untold(asks)
		return err
	}
	if b.give(got, read) {
		ring(b.Given)
	}
	return nil
}

// errBudgetBusy: other workers were always faster.
var errBudgetBusy = errors.New("the budgets changed each time before they could be written")

// ask reads the states, decides, and writes them if nobody else did meanwhile.
func (b *Budget) ask(ctx context.Context, scopes []string, asks []BudgetAsk) (map[string]Allotment, time.Time, error) {
	for range 20 {
		states, now, err := b.Store.Budgets(ctx, scopes)
		if err != nil {
			return nil, time.Time{}, err
		}
		read := time.Now() // not before now, so no slot is used too early
		for _, s := range states {
			s.catchUp(now)
		}
		for _, ask := range asks {
			states[ProjectScope(ask.Project)].Ceiling.Count(now, ask.Sent, ask.Refused, ask.RetryAfter)
		}
		got := b.Limits.allot(now, states, asks)
		if ok, err := b.Store.SaveBudgets(ctx, states); ok || err != nil {
			return got, read, err
		}
	}
	return nil, time.Time{}, errBudgetBusy
}

// asks takes what is to be told and asked now, in the order of the projects.
func (b *Budget) asks() (asks []BudgetAsk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, project := range slices.Sorted(maps.Keys(b.purses)) {
		p := b.purses[project]
		ask, due := p.told, p.told.Refused > 0 || p.told.Sent > 0 && time.Since(p.heard) >= budgetNews
		for lane := range lanes {
			if n := len(p.waiting[lane]); n > 0 && time.Now().After(p.again[lane]) {
				ask.Want[lane], due = n, true
			}
		}
		if due {
			p.told = BudgetAsk{Project: project}
			asks = append(asks, ask)
		}
	}
	return asks
}

// untold keeps what could not be told for the next turn.
func (b *Budget) untold(asks []BudgetAsk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ask := range asks {
		told := &b.purse(ask.Project).told
		told.Sent, told.Refused = told.Sent+ask.Sent, told.Refused+ask.Refused
		told.RetryAfter = max(told.RetryAfter, ask.RetryAfter)
	}
}

// give hands slots to the calls that waited longest. read is the time here that the
// allotment's times count from. It tells whether there were any.
func (b *Budget) give(got map[string]Allotment, read time.Time) (any bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for project, a := range got {
		p := b.purse(project)
		p.heard, p.limited, p.rate, p.learnt = time.Now(), a.Limited, a.Rate, a.Learnt
		b.tell(project, p, a)
		p.forget(p.heard)
		for lane := range lanes {
			any = any || len(a.Slots[lane]) > 0
			p.again[lane] = read.Add(a.Again[lane])
			p.given[lane] += len(a.Slots[lane])
			for len(p.waiting[lane]) > 0 && (!a.Limited || len(a.Slots[lane]) > 0) {
				var slot time.Time
				if a.Limited {
					slot, a.Slots[lane] = read.Add(a.Slots[lane][0]), a.Slots[lane][1:]
				} else {
					p.told.Sent++
				}
				p.next(lane).slot <- slot
			}
		}
	}
	return any
}

// tell logs once that the cloud throttles a project, and once that it no longer does.
func (b *Budget) tell(project string, p *purse, a Allotment) {
	throttled := a.Learnt > 0
	switch {
	case throttled && !p.throttled:
		b.Log.Warn("the cloud throttles a project (429); the whole fleet calls it more slowly and tries faster step by step",
			"project", project, "calls_a_second", fmt.Sprintf("%.2g", a.Learnt), "since", a.Since)
	case !throttled && p.throttled:
		b.Log.Info("the cloud has not throttled a project for a while; it is called without a limit of its own again", "project", project)
	}
	p.throttled = throttled
}
