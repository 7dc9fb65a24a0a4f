package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

// A batch is written again when the answer to its commit was lost.
func TestWhatIsWrittenTwiceIsToldOnce(t *testing.T) {
	d := open(t)
	d.accept("a", "b")
	claims := d.claim(time.Minute)
	var batch []provision.CreateResult
	for _, c := range claims {
		r := created(c)
		if c.RequestID == "b" {
			r = provision.CreateResult{RequestID: c.RequestID, Fence: c.Fence, Attempt: c.Attempt, Outcome: provision.OutcomeUnknown,
				Failure: &provision.Failure{Code: "X.1", Class: provision.ClassServer, Message: "why"},
				Next:    provision.Next{State: provision.Creating, WaitingFor: "a look"}}
		}
		batch = append(batch, r)
	}
	seen := []provision.PollResult{{RequestID: "a", InstanceID: "i-a", JobID: "j-a", JobStatus: "Running", Progress: 40, State: provision.Building, Changed: true}}
	for range 2 {
		d.must(d.RecordCreates(t.Context(), batch))
	}
	for range 2 {
		d.must(d.RecordPolls(t.Context(), seen))
	}
	d.wantEvents("a", "accepted:pending creating:creating building:building progress:building")
	d.wantEvents("b", "accepted:pending creating:creating unknown:creating")
	if n := one[int](d, `select repeats from requests where request_id = 'b'`); n != 1 {
		t.Errorf("one answer was counted %d times", n)
	}
	looked := []provision.LookResult{{RequestID: "b", Fence: d.looks(time.Minute)[0].Fence, Kind: "looked", Detail: "nothing",
		Next: provision.Next{State: provision.Creating, Delay: time.Minute, WaitingFor: "proof"}}}
	for range 2 {
		d.must(d.RecordLooks(t.Context(), looked))
	}
	d.wantEvents("b", "accepted:pending creating:creating unknown:creating looked:creating")
}

// A worker that was paused reports that its call worked after somebody else took
// the request over: what the answer named lives, so it is looked for.
func TestWhatALateAnswerNamedIsLookedFor(t *testing.T) {
	d := open(t)
	d.accept("a")
	late := d.claim(0)[0]
	if c := d.looks(0)[0]; !c.MayHaveRun || len(c.Named) != 0 {
		t.Fatalf("before the answer: %+v", c)
	}
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(late)}))
	d.wantState("a", provision.Creating)
	c := d.looks(time.Minute)[0]
	if !c.MayHaveRun || len(c.Named) != 1 || c.Named[0] != "i-a" || c.LastOutcome != provision.OutcomeCreated {
		t.Fatalf("after the answer: %+v", c)
	}
	found := provision.Instance{ID: "i-a", Status: "creating"}
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{{RequestID: "a", Fence: c.Fence, Kind: "adopted", Adopt: &found,
		Next: provision.Next{State: provision.Building}}}))
	d.wantState("a", provision.Building)
}

// Nor is anything called for before, though a look found nothing, or is about to
// tell so: the list hid it for longer than it may.
func TestALateAnswerHoldsTheNextCall(t *testing.T) {
	for name, looksBefore := range map[string]bool{"after the look": true, "while it is looked for": false} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			d.accept("a")
			late := d.claim(0)[0]
			nothing := looked(d.looks(0)[0], provision.Next{State: provision.Pending})
			if looksBefore {
				d.must(d.RecordLooks(t.Context(), []provision.LookResult{nothing}))
			}
			for range 2 {
				d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(late)}))
			}
			if !looksBefore {
				d.must(d.RecordLooks(t.Context(), []provision.LookResult{nothing}))
			}
			if c := d.claim(time.Minute); len(c) != 0 {
				t.Fatalf("it is called again although its instance is known: %+v", c)
			}
			if l := d.looks(time.Minute); len(l) != 1 || len(l[0].Named) != 1 {
				t.Errorf("looked for: %+v", l)
			}
		})
	}
}

// Nor is it called, or given up, if the answer of its next call is written along with the
// late one.
func TestALateAnswerBesideTheNextOne(t *testing.T) {
	for _, next := range []struct {
		outcome provision.Outcome
		state   provision.State
	}{{provision.OutcomeNotExecuted, provision.Pending}, {provision.OutcomePermanent, provision.Failed}} {
		for _, lateFirst := range []bool{true, false} {
			t.Run(fmt.Sprint(next.outcome, lateFirst), func(t *testing.T) {
				d := open(t)
				d.accept("a")
				late := created(d.claim(0)[0])
				d.must(d.RecordLooks(t.Context(), []provision.LookResult{looked(d.looks(0)[0], provision.Next{State: provision.Pending})}))
				c := d.claim(time.Minute)[0]
				refused := provision.CreateResult{RequestID: "a", Fence: c.Fence, Attempt: c.Attempt, Outcome: next.outcome,
					Failure: &provision.Failure{Code: "X", Class: provision.ClassRate, Message: "later"}, Next: provision.Next{State: next.state}}
				batch := []provision.CreateResult{late, refused}
				if !lateFirst {
					batch = []provision.CreateResult{refused, late}
				}
				for range 2 {
					d.must(d.RecordCreates(t.Context(), batch))
				}
				if c := d.claim(time.Minute); len(c) != 0 {
					t.Fatalf("it is called again although its instance is known: %+v", c)
				}
				if l := d.looks(time.Minute); len(l) != 1 || len(l[0].Named) != 1 {
					t.Errorf("looked for: %+v", l)
				}
			})
		}
	}
}

// A request that was told to come later looks first, and finds that its call
// worked all the same: its events leave no state out.
func TestEventsOfALookFromPending(t *testing.T) {
	d := open(t)
	d.accept("a")
	c := d.claim(time.Minute)[0]
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{{RequestID: "a", Fence: c.Fence, Attempt: c.Attempt, Outcome: provision.OutcomeBusy,
		Failure: &provision.Failure{Code: "DBS.200998", Class: provision.ClassBusy, Message: "later"},
		Next:    provision.Next{State: provision.Pending, LookFirst: true, WaitingFor: "the next call"}}}))
	found := provision.Instance{ID: "i-a", Status: "creating"}
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{{RequestID: "a", Fence: d.looks(time.Minute)[0].Fence, Kind: "adopted", Adopt: &found,
		Next: provision.Next{State: provision.Building}}}))
	d.wantEvents("a", "accepted:pending creating:creating waiting:pending looking:creating adopted:building")
}

// Where nobody will look any more, what a late answer named is an orphan, be its tags
// shown or not. It is somebody's once its request is retried and finds it.
func TestWhatALateAnswerNamedIsAnOrphanOnceItsRequestHasEnded(t *testing.T) {
	d := open(t)
	d.accept("a")
	late := d.claim(0)[0]
	ended := looked(d.looks(0)[0], provision.Next{State: provision.Failed})
	ended.Failure = &provision.Failure{Message: "why"}
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{ended}))
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(late)}))
	d.wantOrphan("i-a", "quarantine")
	if !one[bool](d, `select o.mark = r.mark::text and o.project_id = r.project_id and o.name = r.name and o.why like '%was failed by then'
		from orphans o join requests r using (request_id)`) {
		t.Error("its row does not tell whose it is")
	}
	c := d.audit()
	_, err := d.FinishAudit(t.Context(), c, []string{"i-a"}, deleting, nil)
	d.must(err)
	d.wantOrphan("i-a", "reported")

	if ok, err := d.Retry(t.Context(), "a", []byte("sealed"), "me"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	l := d.looks(time.Minute)[0]
	if len(l.Named) != 1 {
		t.Fatalf("looked for: %+v", l)
	}
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{{RequestID: "a", Fence: l.Fence, Kind: "adopted", Adopt: &provision.Instance{ID: "i-a", Status: "normal"},
		Next: provision.Next{State: provision.Building}}}))
	c = d.audit()
	_, err = d.FinishAudit(t.Context(), c, []string{"i-a"}, deleting, nil)
	d.must(err)
	d.wantOrphan("i-a", "explained")
}

// A look may find it while the late answer waits for the request.
func TestALateAnswerBesideTheLookThatFindsIt(t *testing.T) {
	d := open(t)
	d.accept("a")
	late := d.claim(0)[0]
	d.looks(time.Minute)
	tx, err := d.sql.Begin(t.Context())
	d.must(err)
	for _, sql := range []string{`update requests set state = 'building', sealed_password = null`,
		`insert into instances (instance_id, request_id, project_id, name, adopted, status) values ('i-a', 'a', 'p', 'n', true, 'normal')`} {
		_, err = tx.Exec(t.Context(), sql)
		d.must(err)
	}
	done := make(chan error, 1)
	ctx := context.WithoutCancel(t.Context())
	go func() { done <- d.RecordCreates(ctx, []provision.CreateResult{created(late)}) }()
	d.until("the answer waits for the request", done, `select count(*) = 1 from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))`)
	d.must(tx.Commit(t.Context()))
	d.must(<-done)
	if n := one[int](d, `select count(*) from orphans`); n != 0 {
		t.Error("what its request has is told as an orphan")
	}
}
