package storetest

import (
	"time"

	"ddsworker/internal/provision"
)

func telling(b *bench) {
	b.accept("a", "b")
	b.record(made(b.creates()[0]))
	all, at, err := b.Unpublished(b.t.Context(), 3)
	b.must(err)
	if len(all) != 3 || at != 0 {
		b.t.Fatalf("%d events behind %d, want the oldest 3 behind 0", len(all), at)
	}
	for n, e := range all {
		if n > 0 && e.ID <= all[n-1].ID {
			b.t.Fatalf("event %d: %+v", n, e)
		}
	}
	left := func(after uint64, want ...int64) {
		b.t.Helper()
		rest, at, err := b.Unpublished(b.t.Context(), 100)
		b.must(err)
		if at != after || len(rest) != len(want) {
			b.t.Fatalf("%d events are left behind %d, want %d behind %d", len(rest), at, len(want), after)
		}
		for n, e := range rest {
			if e.ID != want[n] {
				b.t.Fatalf("event %d is left, want %d", e.ID, want[n])
			}
		}
	}
	rest, _, err := b.Unpublished(b.t.Context(), 100)
	b.must(err)
	if len(rest) != 5 {
		b.t.Fatalf("%d events, want 5", len(rest))
	}
	fourth, fifth := rest[3].ID, rest[4].ID
	b.must(b.MarkPublished(b.t.Context(), provision.Published{After: 0, Last: 42, IDs: []int64{all[0].ID, all[1].ID, all[2].ID}}))
	left(42, fourth, fifth)
	// A relay that was paused notes late: what it published is, its place is old.
	b.must(b.MarkPublished(b.t.Context(), provision.Published{After: 0, Last: 7, IDs: []int64{all[0].ID, fourth}}))
	left(42, fifth)
	// The stream was made anew.
	b.must(b.MarkPublished(b.t.Context(), provision.Published{After: 42, Last: 0}))
	left(0, fifth)
}

func lead(b *bench) {
	release, ok, err := b.Lead(b.t.Context())
	b.must(err)
	if _, second, err := b.Lead(b.t.Context()); err != nil || !ok || second {
		b.t.Fatalf("first %v, second %v, %v", ok, second, err)
	}
	release()
	release, ok, err = b.Lead(b.t.Context())
	b.must(err)
	if !ok {
		b.t.Fatal("a lead that was given back cannot be had")
	}
	release()
}

func cancelPending(b *bench) {
	b.accept("a")
	for range 2 {
		if f := b.cancel("a"); f.State != provision.Cancelled || !f.Wished || f.Problem() != "" {
			b.t.Fatalf("%+v", f)
		}
	}
	b.nothing()
	b.events("a", "accepted:pending cancelling:pending cancelled:cancelled")
	if f := b.cancel("nobody"); f.Problem() == "" {
		b.t.Fatalf("%+v", f)
	}
}

func cancelCreating(b *bench) {
	b.accept("a", "b")
	claims := b.creates()
	for _, c := range claims {
		if f := b.cancel(c.RequestID); f.State != provision.Creating || f.Problem() != "" {
			b.t.Fatalf("%+v", f)
		}
	}
	b.nothing() // a live lease holds them
	for _, c := range claims {
		r := failed(c, provision.OutcomeNotExecuted, provision.ClassRate, provision.Next{State: provision.Pending})
		if c.RequestID == "b" {
			r = failed(c, provision.OutcomeUnknown, provision.ClassLost, provision.Next{State: provision.Creating, Delay: time.Hour})
		}
		b.record(r)
	}
	b.sleep(time.Second)
	l := b.look()
	if l.RequestID != "b" || !l.Cancelling || !l.MayHaveRun {
		b.t.Fatalf("%+v", l)
	}
	b.recordLook(seen(l, provision.Next{State: provision.Pending})) // a look that lets it call is conclusive
	b.nothing()
	b.events("a", "accepted:pending creating:creating cancelling:creating cancelled:cancelled")
	b.events("b", "accepted:pending creating:creating cancelling:creating unknown:creating cancelled:cancelled")
}

func cancelBuilding(b *bench) {
	b.build("a")
	b.poll()
	b.cancel("a")
	b.recordPoll(readyOf("a")) // of a poll that did not know of the wish
	p := b.poll()
	if !p.Cancelling || p.Deleting || !p.Named || p.CancelAge != 0 {
		b.t.Fatalf("%+v", p)
	}
	r := provision.PollResult{RequestID: "a", InstanceID: "i-a", State: provision.Building, Cancelling: true, Deleting: true,
		WaitingFor: "the deletion", Delay: 2 * time.Second}
	b.recordPoll(r)
	b.sleep(2 * time.Second)
	if p = b.poll(); !p.Deleting || p.DeleteAge != 2*time.Second || p.WaitingFor != "the deletion" {
		b.t.Fatalf("%+v", p)
	}
	r.State, r.Gone, r.Deleting = provision.Cancelled, true, false
	for range 2 {
		b.recordPoll(r)
	}
	b.events("a", "accepted:pending creating:creating building:building cancelling:building progress:building deleting:building cancelled:cancelled")
}

func retrying(b *bench) {
	b.build("a")
	if ok, err := b.Retry(b.t.Context(), "a", []byte("new"), "tester"); ok || err != nil {
		b.t.Fatalf("retried what is being built: %v, %v", ok, err)
	}
	p := b.poll()
	gone := readyOf("a")
	gone.State, gone.Failure, gone.JobStatus = provision.Failed, &provision.Failure{Message: "why"}, provision.JobFailed
	b.recordPoll(gone)
	ok, err := b.Retry(b.t.Context(), "a", []byte("new"), "tester")
	b.must(err)
	if !ok {
		b.t.Fatal("not retried")
	}
	if got := b.creates(); len(got) > 0 {
		b.t.Fatal("called before a look")
	}
	l := b.look()
	if !l.Retried || l.Held != "i-a" || !l.HeldFailed || l.Mark != p.Mark || l.Age != 0 {
		b.t.Fatalf("%+v", l)
	}
	r := seen(l, provision.Next{State: provision.Pending})
	r.Gone = "i-a"
	b.recordLook(r)
	c := b.create()
	if c.Mark == p.Mark || c.Attempt != 2 || string(c.SealedPassword) != "new" || c.LastCode != "" {
		b.t.Fatalf("%+v", c)
	}
	b.record(failed(c, provision.OutcomeUnknown, provision.ClassLost, provision.Next{State: provision.Creating}))
	if l = b.look(); l.Retried || l.Held != "" || !l.MayHaveRun || l.Mark != c.Mark {
		b.t.Fatalf("%+v", l)
	}
}

// An order that waits to be paid is no instance that is gone.
func retryingAnOrder(b *bench) {
	b.accept("a")
	ordered := made(b.create())
	ordered.Created.JobID, ordered.Created.OrderID = "", "CS1"
	b.record(ordered)
	b.sleep(5 * time.Second)
	b.poll()
	b.recordPoll(provision.PollResult{RequestID: "a", InstanceID: "i-a", State: provision.Failed, Failure: &provision.Failure{Message: "why"}})
	if ok, err := b.Retry(b.t.Context(), "a", []byte("new"), "tester"); !ok || err != nil {
		b.t.Fatal(ok, err)
	}
	if l := b.look(); l.Held != "i-a" || l.HeldOrder != "CS1" || l.Settled {
		b.t.Fatalf("%+v", l)
	}
}

func budgets(b *bench) {
	scopes := []string{provision.AccountScope, provision.ProjectScope(project)}
	states, _, err := b.Budgets(b.t.Context(), scopes)
	b.must(err)
	states[scopes[1]].Ceiling.Accepted = 7
	for n, want := range []bool{true, false} { // the second time they are old
		if ok, err := b.SaveBudgets(b.t.Context(), states); err != nil || ok != want {
			b.t.Fatalf("time %d: %v, %v", n+1, ok, err)
		}
	}
	states, _, err = b.Budgets(b.t.Context(), scopes)
	b.must(err)
	if s := states[scopes[1]]; s.Ceiling.Accepted != 7 || s.Version == 0 {
		b.t.Fatalf("%+v", s)
	}
}
