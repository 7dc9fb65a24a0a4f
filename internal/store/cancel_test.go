package store_test

import (
	"strings"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

// cancel asks for it and returns what was found for one request.
func (d *db) cancel(id string) provision.CancelFound {
	d.t.Helper()
	found, err := d.Cancel(d.t.Context(), []string{id}, "tester")
	d.must(err)
	return found[0]
}

// answered is a claim's outcome that is not a success.
func answered(c provision.CreateClaim, outcome provision.Outcome, next provision.Next) provision.CreateResult {
	return provision.CreateResult{RequestID: c.RequestID, Fence: c.Fence, Attempt: c.Attempt, Outcome: outcome, Next: next,
		Failure: &provision.Failure{Code: "X", Message: "why", Class: provision.ClassRate}}
}

func looked(c provision.LookClaim, next provision.Next) provision.LookResult {
	return provision.LookResult{RequestID: c.RequestID, Fence: c.Fence, Kind: "looked", Next: next}
}

func (d *db) wantCancelling(f provision.CancelFound) {
	d.t.Helper()
	if f.Problem() != "" || f.State == provision.Cancelled {
		d.t.Fatalf("%+v: %s", f, f.Problem())
	}
	if got := one[bool](d, `select sealed_password is null from requests where request_id = $1`, f.RequestID); !got {
		d.t.Error("the password was kept although no call can follow")
	}
	if got := one[string](d, `select error_message from provisioning_history where request_id = $1`, f.RequestID); !strings.HasPrefix(got, "being cancelled") {
		d.t.Errorf("the history says %q", got)
	}
}

func TestWhatNeverCalledIsCancelledAtOnce(t *testing.T) {
	d := open(t)
	d.accept("new", "refused")
	for _, c := range d.claim(time.Minute) {
		if c.RequestID == "refused" {
			d.must(d.RecordCreates(t.Context(), []provision.CreateResult{answered(c, provision.OutcomeNotExecuted,
				provision.Next{State: provision.Pending, Delay: time.Hour})}))
		} else {
			d.must(d.RecordCreates(t.Context(), []provision.CreateResult{answered(c, provision.OutcomeNotExecuted,
				provision.Next{State: provision.Pending})}))
		}
	}
	for range 2 { // the second time changes nothing
		for _, id := range []string{"new", "refused"} {
			if f := d.cancel(id); f.State != provision.Cancelled || f.Problem() != "" {
				t.Fatalf("%+v", f)
			}
		}
	}
	d.wantEvents("refused", "accepted:pending creating:creating waiting:pending cancelling:pending cancelled:cancelled")
	if len(d.claim(time.Minute))+len(d.looks(time.Minute)) != 0 {
		t.Error("a cancelled request is claimed")
	}
	if by := one[string](d, `select cancel_requested_by from requests where request_id = 'new' and sealed_password is null and finished_at is not null`); by != "tester" {
		t.Errorf("asked for by %q", by)
	}
}

// A wish that meets a call on its way is honoured by whatever that comes to.
func TestAWishMeetsACall(t *testing.T) {
	t.Run("that did not run", func(t *testing.T) {
		d := open(t)
		d.accept("a")
		c := d.claim(time.Minute)[0]
		d.wantCancelling(d.cancel("a"))
		if got := d.looks(time.Minute); len(got) != 0 {
			t.Fatal("it was taken from under a live lease")
		}
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{answered(c, provision.OutcomeNotExecuted, provision.Next{State: provision.Pending, Delay: time.Hour})}))
		d.wantState("a", provision.Cancelled)
		d.wantEvents("a", "accepted:pending creating:creating cancelling:creating cancelled:cancelled")
	})
	t.Run("that was refused for good", func(t *testing.T) {
		d := open(t)
		d.accept("a")
		c := d.claim(time.Minute)[0]
		d.wantCancelling(d.cancel("a"))
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{answered(c, provision.OutcomePermanent, provision.Next{State: provision.Failed})}))
		d.wantState("a", provision.Cancelled)
	})
	t.Run("that was told to come later", func(t *testing.T) {
		d := open(t)
		d.accept("a")
		c := d.claim(time.Minute)[0]
		d.wantCancelling(d.cancel("a"))
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{answered(c, provision.OutcomeBusy, provision.Next{State: provision.Pending, LookFirst: true})}))
		d.wantState("a", provision.Pending)
		if len(d.claim(time.Minute)) != 0 {
			t.Fatal("it was called again")
		}
		l := d.looks(time.Minute)[0]
		if !l.Cancelling || !l.MayHaveRun {
			t.Fatalf("%+v", l)
		}
		d.must(d.RecordLooks(t.Context(), []provision.LookResult{looked(l, provision.Next{State: provision.Cancelled})}))
		d.wantState("a", provision.Cancelled)
	})
	t.Run("that worked", func(t *testing.T) {
		d := open(t)
		d.accept("a")
		c := d.claim(time.Minute)[0]
		d.wantCancelling(d.cancel("a"))
		r := created(c)
		r.Next.Delay = time.Hour
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{r}))
		d.wantState("a", provision.Building)
		p := d.polls()
		if len(p) != 1 || !p[0].Cancelling || !p[0].Named || p[0].Settled || p[0].Deleting {
			t.Fatalf("the instance is not deleted at once: %+v", p)
		}
		deleting := provision.PollResult{RequestID: "a", InstanceID: "i-a", State: provision.Building, Cancelling: true, Deleting: true, WaitingFor: "the deletion", CloudRequestID: "cr-d"}
		d.must(d.RecordPolls(t.Context(), []provision.PollResult{deleting}))
		if p := d.polls(); len(p) != 1 || !p[0].Deleting || p[0].WaitingFor != "the deletion" {
			t.Fatalf("%+v", p)
		}
		if got := one[string](d, `select error_message from provisioning_history`); got != "being cancelled, waits for the deletion" {
			t.Errorf("history: %s", got)
		}
		gone := provision.PollResult{RequestID: "a", InstanceID: "i-a", State: provision.Cancelled, Cancelling: true, Gone: true}
		for range 2 {
			d.must(d.RecordPolls(t.Context(), []provision.PollResult{gone}))
		}
		d.wantState("a", provision.Cancelled)
		d.wantEvents("a", "accepted:pending creating:creating cancelling:creating building:building deleting:building cancelled:cancelled")
		if got := one[string](d, `select instance_status || ' ' || instance_id from provisioning_history`); got != "deleted i-a" {
			t.Errorf("history: %s", got)
		}
		if n := one[int](d, `select count(*) from instances where gone_at is not null and delete_requested_at is not null and next_look_at is null`); n != 1 {
			t.Error("the instance is not recorded as gone")
		}
	})
}

// A look that was claimed before the wish, and lets the request call, is conclusive.
func TestAWishMeetsALook(t *testing.T) {
	d := open(t)
	d.accept("a")
	d.claim(0)
	l := d.looks(time.Minute)[0]
	d.wantCancelling(d.cancel("a"))
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{looked(l, provision.Next{State: provision.Pending})}))
	d.wantState("a", provision.Cancelled)
}

// An instance that became ready while somebody wished it cancelled is not handed out.
func TestAWishIsNotLostToAnInstanceThatIsReady(t *testing.T) {
	for _, state := range []provision.State{provision.Ready, provision.Failed} {
		d := open(t)
		d.accept("a")
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(d.claim(time.Minute)[0])}))
		d.polls()
		d.wantCancelling(d.cancel("a"))
		d.must(d.RecordPolls(t.Context(), []provision.PollResult{{RequestID: "a", InstanceID: "i-a", JobID: "j-a", JobStatus: "Completed", Progress: 100,
			State: state, Changed: true, Failure: &provision.Failure{Message: "x"}, Instance: &provision.Instance{ID: "i-a", Status: "normal"}}}))
		d.wantState("a", provision.Building)
		if p := d.polls(); len(p) != 1 || !p[0].Cancelling || !p[0].Seen {
			t.Errorf("after %s: %+v", state, p)
		}
	}
}

// An operator may set the wish in SQL.
func TestAnOperatorCancelsInSQL(t *testing.T) {
	d := open(t)
	d.accept("waits", "builds", "ready")
	for _, c := range d.claim(time.Minute) {
		if c.RequestID == "waits" {
			d.must(d.RecordCreates(t.Context(), []provision.CreateResult{answered(c, provision.OutcomeNotExecuted, provision.Next{State: provision.Pending, Delay: time.Hour})}))
			continue
		}
		r := created(c)
		r.Next.Delay = time.Hour
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{r}))
	}
	_, err := d.sql.Exec(t.Context(), `update requests set state = 'ready', finished_at = now() where request_id = 'ready'`)
	d.must(err)
	_, err = d.sql.Exec(t.Context(), `update requests set cancel_requested_at = now() where request_id in ('waits', 'builds')`)
	d.must(err)
	if len(d.claim(time.Minute)) != 0 {
		t.Error("it is called although somebody wishes it cancelled")
	}
	if l := d.looks(time.Minute); len(l) != 1 || l[0].RequestID != "waits" || !l[0].Cancelling || l[0].MayHaveRun {
		t.Errorf("looks: %+v", l)
	}
	if p := d.polls(); len(p) != 1 || p[0].RequestID != "builds" || !p[0].Cancelling {
		t.Errorf("polls: %+v", p)
	}
	if _, err := d.sql.Exec(t.Context(), `update requests set cancel_requested_at = now() where request_id = 'ready'`); err == nil || !strings.Contains(err.Error(), "cannot be cancelled") {
		t.Errorf("a ready one: %v", err)
	}
}

func TestWhatCannotBeCancelledSaysWhy(t *testing.T) {
	d := open(t)
	d.accept("ready", "failed")
	for _, c := range d.claim(time.Minute) {
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(c)}))
	}
	for _, state := range []provision.State{provision.Ready, provision.Failed} {
		d.must(d.RecordPolls(t.Context(), []provision.PollResult{{RequestID: string(state), InstanceID: "i-" + string(state), State: state,
			Failure: &provision.Failure{Message: "x"}}}))
	}
	d.reject(provision.Rejection{RequestID: "rejected", Code: provision.CodeRules, ReceivedAt: time.Unix(5, 0), Sequence: 99,
		Reasons: provision.Violations{{Path: "name", Given: "1", Allowed: "a letter"}}})
	found, err := d.Cancel(t.Context(), []string{"ready", "failed", "rejected", "unknown"}, "tester")
	d.must(err)
	for i, want := range []string{"delete instance i-ready", "instance i-failed is left", "was rejected", "no request has this id"} {
		if got := found[i].Problem(); !strings.Contains(got, want) {
			t.Errorf("%s: %q lacks %q", found[i].RequestID, got, want)
		}
	}
	d.wantState("ready", provision.Ready)
}
