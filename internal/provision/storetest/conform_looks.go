package storetest

import (
	"fmt"
	"time"

	"ddsworker/internal/provision"
)

func lookFirst(b *bench) {
	b.acceptIn(project, "a", "b")
	if got := b.creates(); len(got) > 0 {
		b.t.Fatalf("called before a look: %v", got)
	}
	for _, l := range b.looks() {
		if l.MayHaveRun || l.MarksSeen || l.LastOutcome != "" || l.Namesakes != nil || !l.Settled {
			b.t.Fatalf("%+v", l)
		}
		if l.RequestID == "a" {
			r := seen(l, provision.Next{State: provision.Pending})
			r.Namesakes = []string{"foreign"}
			b.recordLook(r)
		} else {
			b.recordLook(seen(l, provision.Next{State: provision.Pending, LookFirst: true, Delay: time.Hour}))
		}
	}
	c := b.create()
	b.record(failed(c, provision.OutcomeNotExecuted, provision.ClassRate, provision.Next{State: provision.Pending}))
	if got := b.creates(); len(got) > 0 {
		b.t.Fatalf("where tags are not proved each call needs a look: %v", got)
	}
	if l := b.look(); fmt.Sprint(l.Namesakes) != "[foreign]" || l.MayHaveRun {
		b.t.Fatalf("%+v", l)
	}
	b.must(b.NoteMarksSeen(b.t.Context(), project)) // the first one to call proves them for the others
	if c := b.create(); c.RequestID != "b" {
		b.t.Fatalf("%+v", c)
	}
}

func settling(b *bench) {
	b.accept("a")
	b.record(failed(b.create(), provision.OutcomeUnknown, provision.ClassLost, provision.Next{State: provision.Creating, Delay: time.Second}))
	b.nothing()
	b.sleep(settle - time.Second)
	l := b.look()
	if l.Settled || l.LastOutcome != provision.OutcomeUnknown || l.LastCode != "CODE" || l.LastMessage != "why" || !l.MarksSeen {
		b.t.Fatalf("%+v", l)
	}
	b.recordLook(seen(l, provision.Next{State: provision.Creating, Delay: time.Second}))
	b.sleep(time.Second)
	if l = b.look(); !l.Settled || l.Looks != 2 {
		b.t.Fatalf("%+v", l)
	}
	b.recordLook(seen(l, provision.Next{State: provision.Pending}))
	if c := b.create(); c.Attempt != 2 || c.Age == 0 {
		b.t.Fatalf("%+v", c)
	}
	b.events("a", "accepted:pending creating:creating unknown:creating looked:creating looked:pending creating:creating")
}

func oneOfAName(b *bench) {
	first, second := b.request("a", project), b.request("b", project)
	second.Name = first.Name
	for _, r := range []provision.NewRequest{first, second} {
		_, err := b.Accept(b.t.Context(), []provision.NewRequest{r}, provision.ClaimQuery{})
		b.must(err)
		l := b.look()
		result := seen(l, provision.Next{State: provision.Pending})
		result.Namesakes = []string{}
		b.recordLook(result)
	}
	c := b.create()
	if c.RequestID != "a" {
		b.t.Fatalf("%+v: the first one has the name", c)
	}
	b.record(failed(c, provision.OutcomePermanent, provision.ClassInvalid, provision.Next{State: provision.Failed}))
	b.nothing()
	b.sleep(10 * time.Second)
	l := b.look()
	result := seen(l, provision.Next{State: provision.Pending})
	result.Namesakes = []string{}
	b.recordLook(result)
	if c := b.create(); c.RequestID != "b" {
		b.t.Fatalf("%+v", c)
	}
}

func adopting(b *bench) {
	b.accept("a", "b")
	for _, c := range b.creates() {
		b.record(failed(c, provision.OutcomeUnknown, provision.ClassLost, provision.Next{State: provision.Creating}))
	}
	for _, l := range b.looks() {
		if l.RequestID == "b" {
			continue
		}
		r := seen(l, provision.Next{State: provision.Building})
		r.Kind, r.Adopt = provision.KindAdopted, &provision.Instance{ID: "i", Name: l.Name, Status: "creating"}
		r.Orphans = []provision.Instance{{ID: "surplus", Name: l.Name}}
		for range 2 {
			b.recordLook(r)
		}
	}
	known, err := b.KnownInstances(b.t.Context(), []string{"i", "surplus", "nobody's"})
	b.must(err)
	if len(known) != 1 || !known["i"] {
		b.t.Fatalf("known are %v", known)
	}
	if p := b.poll(); p.InstanceID != "i" || p.JobID != "" || p.Named || !p.Seen {
		b.t.Fatalf("%+v", p)
	}
	b.events("a", "accepted:pending creating:creating unknown:creating adopted:building")
	b.sleep(lease)
	l := b.look()
	r := seen(l, provision.Next{State: provision.Building})
	r.Adopt = &provision.Instance{ID: "i"}
	b.unstorable(b.RecordLooks(b.t.Context(), []provision.LookResult{r}))
}

// A look that ends a request that was pending tells its step over creating, although a
// refusal of another message has told its state meanwhile.
func lookEnds(b *bench) {
	b.acceptIn(project, "a", "b")
	looks := b.looks()
	b.reject(provision.Rejection{RequestID: "b", ProjectID: project, Code: provision.CodeIDReused,
		Reasons: provision.Violations{{Path: "headers"}}, ReceivedAt: time.Unix(1700000000, 0), Sequence: 99})
	for _, l := range looks {
		r := seen(l, provision.Next{State: provision.Failed})
		if r.Failure = (&provision.Failure{Message: "why"}); l.RequestID == "b" {
			r = seen(l, provision.Next{State: provision.Building})
			r.Kind, r.Adopt = provision.KindAdopted, &provision.Instance{ID: "i"}
		}
		b.recordLook(r)
	}
	b.events("a", "accepted:pending looking:creating failed:failed")
	b.events("b", "accepted:pending refused:creating looking:creating adopted:building")
}

func polling(b *bench) {
	b.accept("a")
	b.record(made(b.create()))
	if got := b.polls(); len(got) > 0 {
		b.t.Fatalf("looked at before its time: %v", got)
	}
	slack := b.query(1)
	slack.Slack = 5 * time.Second
	claims, err := b.ClaimPolls(b.t.Context(), slack)
	b.must(err)
	p := one(b, claims)
	if p.RequestID != "a" || p.InstanceID != "i-a" || p.JobID != "j-a" || p.JobStatus != provision.JobRunning || p.Looks != 1 || !p.MarksSeen || !p.Named || p.Seen {
		b.t.Fatalf("%+v", p)
	}
	if got := b.polls(); len(got) > 0 {
		b.t.Fatalf("claimed twice: %v", got)
	}
	half := provision.PollResult{RequestID: "a", InstanceID: "i-a", JobID: "j-a", JobStatus: provision.JobRunning, Progress: 50,
		State: provision.Building, Delay: 3 * time.Second, Changed: true}
	for range 2 { // what is known is no news
		b.recordPoll(half)
	}
	b.sleep(3 * time.Second)
	if p = b.poll(); p.Progress != 50 || p.Age != 3*time.Second || p.Looks != 2 {
		b.t.Fatalf("%+v", p)
	}
	b.recordPoll(readyOf("a"))
	b.sleep(time.Hour)
	if got := b.polls(); len(got) > 0 {
		b.t.Fatalf("looked at although it is ready: %v", got)
	}
	b.events("a", "accepted:pending creating:creating building:building progress:building ready:ready")
}

func readyOf(id string) provision.PollResult {
	return provision.PollResult{RequestID: id, InstanceID: "i-" + id, JobID: "j-" + id, JobStatus: provision.JobCompleted, Progress: 100,
		State: provision.Ready, Changed: true, Instance: &provision.Instance{ID: "i-" + id, Status: provision.InstanceNormal}}
}

func latePoll(b *bench) {
	b.build("missed")
	for _, status := range []string{"", "creating", ""} { // whether the last look did not find it
		r := provision.PollResult{RequestID: "missed", InstanceID: "i-missed", State: provision.Building, Gone: status == ""}
		if status != "" {
			r.Instance = &provision.Instance{ID: "i-missed", Status: status}
		}
		b.poll()
		b.recordPoll(r)
		if p := b.poll(); p.Missed != r.Gone {
			b.t.Fatalf("%+v", p)
		}
		b.sleep(lease)
	}
	b.recordPoll(readyOf("missed"))
	b.build("a")
	b.poll()
	b.recordPoll(readyOf("a"))
	late := readyOf("a")
	late.State, late.Failure = provision.Failed, &provision.Failure{Message: "late"}
	b.recordPoll(late)
	wrong := readyOf("a")
	wrong.InstanceID = "another"
	b.recordPoll(wrong)
	b.events("a", "accepted:pending creating:creating building:building ready:ready")
}

func keeping(b *bench) {
	b.accept("a")
	b.record(failed(b.create(), provision.OutcomeUnknown, provision.ClassLost, provision.Next{State: provision.Creating}))
	keep := func(fence int64) bool {
		b.t.Helper()
		ok, err := b.KeepLook(b.t.Context(), "a", fence, lease)
		b.must(err)
		return ok
	}
	l := b.look()
	b.sleep(lease - time.Second)
	if !keep(l.Fence) {
		b.t.Fatal("the claim is not kept")
	}
	b.sleep(lease - time.Second)
	b.nothing()
	b.sleep(time.Second)
	if next := b.look(); keep(l.Fence) || !keep(next.Fence) {
		b.t.Fatal("an earlier claim is kept, or the last one is not")
	}
	b.build("b")
	b.poll()
	b.sleep(lease - time.Second)
	keepPoll := func() bool {
		b.t.Helper()
		ok, err := b.KeepPoll(b.t.Context(), "i-b", lease)
		b.must(err)
		return ok
	}
	if !keepPoll() {
		b.t.Fatal("the next look is not put off")
	}
	b.sleep(lease - time.Second)
	if got := b.polls(); len(got) > 0 {
		b.t.Fatalf("claimed all the same: %v", got)
	}
	b.recordPoll(readyOf("b"))
	if keepPoll() {
		b.t.Fatal("what is ready is to be looked at again")
	}
}
