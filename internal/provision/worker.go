package provision

import (
	"context"
	"sync"
	"time"
)

// Worker runs the five loops. This is the life of a request, from top to bottom:
//
//  1. Intake takes its message from the stream, checks every rule, seals its
//     password and writes it as a row in state pending. Only then is the message
//     acknowledged. One that can never be accepted is recorded as a rejection.
//  2. The Creator claims the row when it is due: in one statement the row becomes
//     creating, gets the next fencing number and a lease, and the intent to call
//     is recorded as an attempt. While nothing else is due and there is room for
//     its call, that is the statement that takes it in. Then the Creator calls the
//     cloud, once, and records the outcome: building with the instance's and the
//     job's id, pending with a new due time if the call surely did not run, failed
//     if it was refused for good, and still creating if nobody knows.
//  3. The Reconciler claims what nobody knows about: rows in creating whose lease
//     ended or whose outcome is unknown, and rows that must look before they
//     call. It lists the instances of that name and adopts the one that carries
//     the request's mark. Only when a list that was read whole shows nothing,
//     after everything that may still appear has had the time to, is the request
//     pending again.
//  4. The Poller claims instances being built when their next look is due, reads
//     many jobs with one call, and ends the request: ready once the instance is
//     normal with no action running, failed if the cloud gave up.
//  5. The Relay publishes every event that the others wrote beside their changes.
//
// Between two steps a request is nothing but a row with a due time. If the
// process dies, the row is due again when its lease ends, for any worker. What
// the steps decide stands in verdict.go and its likes.
//
// Beside them the Auditor compares from time to time what the cloud lists with what
// is recorded, for what the others could not see.
//
// The Pruner, where a retention time is set, forgets what ended longer ago.
//
// Waking tells other workers at once of what nobody here has claimed, and hears of
// theirs.
//
// Before each call, of whatever loop, the Budget makes it wait for its turn in the
// fleet's rate.
type Worker struct {
	Budget     *Budget // nil: no limits
	Intake     *Intake
	Creator    *Creator
	Reconciler *Reconciler
	Poller     *Poller
	Auditor    *Auditor // nil: nothing is audited
	Relay      *Relay
	Pruner     *Pruner // nil: nothing is pruned
	Waking     *Waking // nil: each worker finds by itself what is due
	// Grace is how long what is in flight may take once the worker stops.
	Grace time.Duration
}

// Run works until ctx ends, then takes nothing more, finishes what is in flight
// within the grace time, gives its claims back, and returns.
func (w *Worker) Run(ctx context.Context) {
	create, look, poll, relay, others := NewBell(), NewBell(), NewBell(), NewBell(), NewBell()
	w.Creator.Due, w.Reconciler.Due, w.Poller.Due, w.Relay.Due = create, look, poll, relay
	w.Intake.Accepted, w.Intake.Waiting = []Bell{relay}, []Bell{create, look, others}
	w.Intake.Creator = w.Creator
	w.Creator.Recorded, w.Creator.Unsettled, w.Creator.Claimable = []Bell{poll, relay}, []Bell{look}, []Bell{create, others}
	w.Reconciler.Recorded, w.Reconciler.Claimable = []Bell{create, poll, relay}, []Bell{others}
	w.Poller.Recorded = []Bell{relay}

	if w.Budget != nil {
		w.Budget.Given = []Bell{create, look, poll}
	}

	work, stop := graceful(ctx, w.Grace)
	defer stop()
	relaying, stopRelay := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRelay()
	pacing, stopBudget := context.WithCancel(work)
	defer stopBudget()
	var loops, last, budget sync.WaitGroup
	budget.Go(func() { w.Budget.Run(pacing) })
	loops.Go(func() { w.Intake.Run(ctx, work) })
	loops.Go(func() { w.Creator.Run(ctx, work) })
	loops.Go(func() { w.Reconciler.Run(ctx, work) })
	loops.Go(func() { w.Poller.Run(ctx, work) })
	if w.Auditor != nil {
		w.Auditor.Recorded = []Bell{relay}
		loops.Go(func() { w.Auditor.Run(ctx, work) })
	}
	if w.Pruner != nil {
		loops.Go(func() { w.Pruner.Run(ctx) })
	}
	if w.Waking != nil {
		w.Waking.Unclaimed, w.Waking.Woken = others, []Bell{create, look}
		loops.Go(func() { w.Waking.hear(ctx) })
		last.Go(func() { w.Waking.tell(work) })
	}
	last.Go(func() { w.Relay.Run(relaying, work) })
	loops.Wait()
	close(others) // which only they ring
	stopBudget()
	budget.Wait()
	stopRelay() // last, so that the others' events still go out
	last.Wait()
}
