package storetest

import (
	"slices"
	"time"

	"ddsworker/internal/provision"
)

func telling(b *bench) {
	unpublished := func(after uint64, limit int) []provision.Event {
		b.t.Helper()
		events, at, err := b.Unpublished(b.t.Context(), limit)
		b.must(err)
		if len(events) > 0 && at != after {
			b.t.Fatalf("events behind %d, want them behind %d", at, after)
		}
		return events
	}
	wantIDs := func(events []provision.Event, want ...int64) {
		b.t.Helper()
		var got []int64
		for _, e := range events {
			got = append(got, e.ID)
		}
		if !slices.Equal(got, want) {
			b.t.Fatalf("events %v, want %v", got, want)
		}
	}
	waited := func(want time.Duration) {
		b.t.Helper()
		d, err := b.Waited(b.t.Context())
		b.must(err)
		if d.Round(time.Second) != want {
			b.t.Fatalf("the oldest has waited for %v, want %v", d, want)
		}
	}
	waited(0)
	b.accept("a")
	b.sleep(2 * time.Minute)
	waited(2 * time.Minute)
	unpublished(0, 100)
	waited(2 * time.Minute)
	b.accept("b")
	unpublished(0, 100)
	claims := b.creates()
	unpublished(0, 100)
	b.record(made(claims[0]))
	all := unpublished(0, 100)
	var ids, batches []int64
	for n, e := range all {
		ids, batches = append(ids, e.ID), append(batches, e.Batch)
		if n > 0 && e.ID <= ids[n-1] {
			b.t.Fatalf("event %d: %+v", n, e)
		}
	}
	if len(all) != 5 || batches[0] == batches[1] || batches[2] != batches[3] || batches[3] == batches[4] {
		b.t.Fatalf("%d events in batches %v, want 5 in 1, 1, 2 and 1", len(all), batches)
	}
	wantIDs(unpublished(0, 3), ids[:2]...) // whole batches
	note := func(p provision.Published) { b.must(b.MarkPublished(b.t.Context(), p)) }
	note(provision.Published{After: 0, Last: 40, Batches: batches[:2]})
	waited(0)
	wantIDs(unpublished(40, 1), ids[2:4]...) // one in any case
	note(provision.Published{After: 40, Last: 42, IDs: ids[2:3]})
	wantIDs(unpublished(42, 100), ids[3:]...)
	// A relay that was paused notes late: what it published is, its place is old.
	note(provision.Published{After: 0, Last: 7, Batches: batches[:1], IDs: []int64{ids[0], ids[3]}})
	wantIDs(unpublished(42, 100), ids[4])
	// The stream was made anew.
	note(provision.Published{After: 42, Last: 0})
	wantIDs(unpublished(0, 100), ids[4])
	note(provision.Published{After: 0, Last: 1, IDs: ids})
	wantIDs(unpublished(1, 100))
	waited(0)
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

// What was taken for gone and is listed again is taken by a retry, and followed again.
func retryingWhatSeemedGone(b *bench) {
	b.build("a")
	b.poll()
	b.recordPoll(provision.PollResult{RequestID: "a", InstanceID: "i-a", State: provision.Failed, Gone: true, Failure: &provision.Failure{Message: "gone"}})
	if ok, err := b.Retry(b.t.Context(), "a", []byte("new"), "tester"); !ok || err != nil {
		b.t.Fatal(ok, err)
	}
	l := b.look()
	if !slices.Equal(l.Gone, []string{"i-a"}) || l.Held != "" {
		b.t.Fatalf("%+v", l)
	}
	r := seen(l, provision.Next{State: provision.Building})
	r.Kind, r.Adopt = provision.KindAdopted, &provision.Instance{ID: "i-a", Name: "n", Status: "creating"}
	b.recordLook(r)
	if p := b.poll(); p.InstanceID != "i-a" || p.RequestID != "a" {
		b.t.Fatalf("%+v", p)
	}
	b.recordPoll(readyOf("a"))
	b.events("a", "accepted:pending creating:creating building:building failed:failed retried:pending looking:creating adopted:building ready:ready")
}

// What was taken for gone may live, so that a cancelled retry looks for it, though all
// that was called since was refused.
func cancellingWhatSeemedGone(b *bench) {
	retry := func() {
		b.t.Helper()
		if ok, err := b.Retry(b.t.Context(), "a", []byte("new"), "tester"); !ok || err != nil {
			b.t.Fatal(ok, err)
		}
	}
	b.build("a")
	b.poll()
	b.recordPoll(provision.PollResult{RequestID: "a", InstanceID: "i-a", State: provision.Failed, Gone: true, Failure: &provision.Failure{Message: "gone"}})
	retry()
	b.recordLook(seen(b.look(), provision.Next{State: provision.Pending}))
	b.record(failed(b.create(), provision.OutcomePermanent, provision.ClassQuota, provision.Next{State: provision.Failed}))
	retry()
	if f := b.cancel("a"); f.State != provision.Pending || !f.Wished {
		b.t.Fatalf("%+v", f)
	}
	if l := b.look(); !l.Cancelling || !slices.Equal(l.Gone, []string{"i-a"}) {
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
