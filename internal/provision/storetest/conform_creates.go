package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"ddsworker/internal/provision"
)

func accepting(b *bench) {
	again := b.request("a", project)
	otherBody := again
	otherBody.Fingerprint[0]++
	for n, want := range []provision.Found{provision.Accepted, provision.Duplicate} {
		found, err := b.Accept(b.t.Context(), []provision.NewRequest{again}, provision.ClaimQuery{})
		b.must(err)
		if found[0].Found != want {
			b.t.Fatalf("time %d: %v, want %v", n+1, found, want)
		}
	}
	found, err := b.Accept(b.t.Context(), []provision.NewRequest{otherBody, b.request("b", project), again}, provision.ClaimQuery{})
	b.must(err)
	if fmt.Sprint(found) != fmt.Sprint([]provision.Acceptance{{Found: provision.Conflicting}, {Found: provision.Accepted}, {Found: provision.Duplicate}}) {
		b.t.Fatalf("found %v", found)
	}
	b.events("a", "accepted:pending")
}

// What was taken in is delivered again if its acknowledgement was lost, and perhaps to
// a worker that would not take it in.
func rejectingWhatIsTaken(b *bench) {
	taken := b.request("taken", project)
	taken.ReceivedAt = time.Unix(1700000000, 123456789)
	_, err := b.Accept(b.t.Context(), []provision.NewRequest{taken}, provision.ClaimQuery{})
	b.must(err)
	again := provision.Rejection{RequestID: "taken", ProjectID: project, Code: provision.CodeRules,
		Reasons:    provision.Violations{{Path: "password", Given: "1", Allowed: "2"}},
		ReceivedAt: taken.ReceivedAt, Sequence: taken.Sequence}
	later, anew := again, again
	later.Sequence += 7                              // somebody published it once more
	anew.ReceivedAt = anew.ReceivedAt.Add(time.Hour) // into a stream that was made anew
	if known := b.reject(again); !known[0] {
		b.t.Error("what is a request already is not told")
	}
	b.events("taken", "accepted:pending")
	for range 2 { // a refusal that is delivered again is none that was taken in
		if known := b.reject(later, again, anew); !slices.Equal(known, []bool{false, true, false}) {
			b.t.Errorf("taken in: %v", known)
		}
	}
	b.events("taken", "accepted:pending refused:pending refused:pending")
}

func rejecting(b *bench) {
	b.accept("known")
	for range 2 { // the second time is the same delivery
		for n, id := range []string{"known", "new"} {
			b.reject(provision.Rejection{RequestID: id, ProjectID: project, Code: provision.CodeBody,
				Reasons: provision.Violations{{Path: "body", Given: "1", Allowed: "2"}}, Body: json.RawMessage(`{}`), Size: 2,
				ReceivedAt: time.Unix(1700000000, 0), Sequence: uint64(100 + n)})
		}
	}
	b.events("known", "accepted:pending refused:pending")
	b.events("new", "rejected:rejected")
}

func claimHolds(b *bench) {
	b.accept("a")
	c := b.create()
	if c.Attempt != 1 || c.ProjectID != project || c.Name != "name-a" || string(c.SealedPassword) != "sealed" || c.Mark == "" || c.Age != 0 {
		b.t.Fatalf("%+v", c)
	}
	b.sleep(lease - time.Second)
	b.nothing()
	b.sleep(2 * time.Second)
	if got := b.creates(); len(got) > 0 {
		b.t.Fatal("it is called again and nobody looked")
	}
	l := b.look()
	if l.Fence <= c.Fence || l.Mark != c.Mark || l.LastOutcome != provision.OutcomeUnknown || !l.MayHaveRun || l.Settled {
		b.t.Fatalf("%+v", l)
	}
	b.nothing()
	b.events("a", "accepted:pending creating:creating")
}

func claimIsServed(b *bench) {
	b.accept("a", "b", "c")
	for _, q := range []func(*provision.ClaimQuery){
		func(q *provision.ClaimQuery) { q.Served.Region = "elsewhere" },
		func(q *provision.ClaimQuery) { q.Served.Projects = []string{other} },
		func(q *provision.ClaimQuery) { q.Most = map[string]int{project: 0} },
	} {
		query := b.query(100)
		q(&query)
		if got, err := b.ClaimCreates(b.t.Context(), query); err != nil || len(got) > 0 {
			b.t.Fatalf("%+v: claimed %v, %v", query, got, err)
		}
	}
	query := b.query(100)
	query.Most = map[string]int{project: 1}
	for _, limited := range []provision.ClaimQuery{query, b.query(1)} {
		if got, err := b.ClaimCreates(b.t.Context(), limited); err != nil || len(got) != 1 {
			b.t.Fatalf("claimed %v, %v, want one", got, err)
		}
	}
}

// What is looked for and what is built belong to workers of its region, too: in another
// one nobody finds it.
func regionIsServed(b *bench) {
	b.accept("built", "lost")
	for _, c := range b.creates() {
		if c.RequestID == "built" {
			b.record(made(c))
		} else {
			b.record(failed(c, provision.OutcomeUnknown, provision.ClassLost, provision.Next{State: provision.Creating}))
		}
	}
	b.sleep(time.Minute)
	elsewhere := b.query(100)
	elsewhere.Served.Region = "elsewhere"
	polls, err := b.ClaimPolls(b.t.Context(), elsewhere)
	b.must(err)
	looks, err := b.ClaimLooks(b.t.Context(), elsewhere)
	b.must(err)
	if len(polls)+len(looks) > 0 {
		b.t.Fatalf("a worker of another region claimed %+v and %+v", polls, looks)
	}
	b.poll()
	b.look()
}

func turns(b *bench) {
	b.must(b.NoteMarksSeen(b.t.Context(), other))
	b.accept("a", "b", "c", "d")
	b.sleep(time.Second)
	b.acceptIn(other, "e")
	claims, err := b.ClaimCreates(b.t.Context(), b.query(2))
	b.must(err)
	if got := ids(claims, func(c provision.CreateClaim) string { return c.RequestID }); got != "[a e]" {
		b.t.Fatalf("claimed %s, want the oldest of each project", got)
	}
}

// What a worker reports after it lost the request is kept, and what it names is
// looked for, whatever a look that did not know of it says.
func lateOutcome(b *bench) {
	b.accept("a")
	c := b.create()
	b.sleep(lease)
	l := b.look()
	b.record(made(c))
	b.events("a", "accepted:pending creating:creating")
	b.recordLook(seen(l, provision.Next{State: provision.Pending}))
	l = b.look()
	if fmt.Sprint(l.Named) != "[i-a]" || l.LastOutcome != provision.OutcomeCreated || !l.MayHaveRun {
		b.t.Fatalf("%+v: the answer that came late is not known", l)
	}
	b.recordLook(seen(l, provision.Next{State: provision.Creating}))
	old := b.look()
	b.sleep(lease)
	b.look()
	b.recordLook(seen(old, provision.Next{State: provision.Failed}))
	b.events("a", "accepted:pending creating:creating looked:creating")
}

// What a worker reports once its request has another instance, or has ended, is told as
// an orphan; not so what the request has, though somebody else found it.
func lateSurplus(b *bench) {
	b.accept("other", "same", "failed")
	late := map[string]provision.CreateResult{}
	for _, c := range b.creates() {
		late[c.RequestID] = made(c)
	}
	b.sleep(lease)
	for _, l := range b.looks() {
		r := seen(l, provision.Next{State: provision.Building})
		switch r.Kind = "adopted"; l.RequestID {
		case "other":
			r.Adopt = &provision.Instance{ID: "i", Name: l.Name}
		case "same":
			r.Adopt = &provision.Instance{ID: "i-same", Name: l.Name}
		case "failed":
			r.Next.State, r.Failure = provision.Failed, &provision.Failure{Message: "why"}
		}
		b.recordLook(r)
	}
	for range 2 {
		b.record(late["other"], late["same"], late["failed"])
	}
	b.events("other", "accepted:pending creating:creating adopted:building orphan:building")
	b.events("same", "accepted:pending creating:creating adopted:building")
	b.events("failed", "accepted:pending creating:creating failed:failed orphan:failed")
}

func recordedOnce(b *bench) {
	b.accept("a")
	c := b.create()
	for range 2 {
		b.record(failed(c, provision.OutcomeBusy, provision.ClassBusy, provision.Next{State: provision.Pending}))
	}
	b.record(made(c))
	b.events("a", "accepted:pending creating:creating waiting:pending")
	if c = b.create(); c.Attempt != 2 || c.LastCode != "CODE" || c.Repeats != 1 || c.LastClass != provision.ClassBusy {
		b.t.Fatalf("%+v", c)
	}
	b.record(failed(c, provision.OutcomeBusy, provision.ClassBusy, provision.Next{State: provision.Pending}))
	if c = b.create(); c.Repeats != 2 {
		b.t.Fatalf("%+v: the same code came twice in a row", c)
	}
	b.record(failed(c, provision.OutcomePermanent, provision.ClassQuota, provision.Next{State: provision.Failed}))
	b.sleep(time.Hour)
	b.nothing()
	b.events("a", "accepted:pending creating:creating waiting:pending creating:creating waiting:pending creating:creating failed:failed")
}

func waitingTime(b *bench) {
	b.accept("a")
	b.record(failed(b.create(), provision.OutcomeNotExecuted, provision.ClassRate, provision.Next{State: provision.Pending, Delay: 7 * time.Second}))
	b.sleep(6 * time.Second)
	b.nothing()
	b.sleep(time.Second)
	if c := b.create(); c.Attempt != 2 || c.Age != 7*time.Second {
		b.t.Fatalf("%+v: it is the second call, 7 s after the first", c)
	}
}

// A call that did not leave was none: the next one takes its row.
func notSent(b *bench) {
	b.accept("a")
	for range 3 {
		c := b.create()
		if c.Attempt != 1 || c.Age != 0 {
			b.t.Fatalf("%+v", c)
		}
		b.record(failed(c, provision.OutcomeNotExecuted, provision.ClassNotSent, provision.Next{State: provision.Pending}))
	}
	b.record(failed(b.create(), provision.OutcomeNotExecuted, provision.ClassRate, provision.Next{State: provision.Pending}))
	if c := b.create(); c.Attempt != 2 {
		b.t.Fatalf("%+v", c)
	}
}

// oneTransaction: an instance belongs to one request, and a batch with a row that
// says otherwise changes nothing.
func oneTransaction(b *bench) {
	b.build("a")
	b.accept("b", "c")
	claims := b.creates()
	var batch []provision.CreateResult
	for _, c := range claims {
		r := made(c)
		if c.RequestID == "c" {
			r.Created.InstanceID = "i-a"
		}
		batch = append(batch, r)
	}
	b.unstorable(b.RecordCreates(b.t.Context(), batch))
	for _, id := range []string{"b", "c"} {
		b.events(id, "accepted:pending creating:creating")
	}
	if got := b.polls(); len(got) != 1 || got[0].InstanceID != "i-a" {
		b.t.Fatalf("%+v", got)
	}
}
