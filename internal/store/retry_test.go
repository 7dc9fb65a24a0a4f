package store_test

import (
	"strings"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

// failed makes a request fail with an instance of its own, or without one.
func (d *db) failed(id string, built bool) {
	d.t.Helper()
	d.accept(id)
	c := d.claim(time.Minute)[0]
	if !built {
		d.must(d.RecordCreates(d.t.Context(), []provision.CreateResult{answered(c, provision.OutcomePermanent, provision.Next{State: provision.Failed})}))
	} else {
		d.must(d.RecordCreates(d.t.Context(), []provision.CreateResult{created(c)}))
		d.must(d.RecordPolls(d.t.Context(), []provision.PollResult{{RequestID: id, InstanceID: "i-" + id, JobID: "j-" + id, JobStatus: "Failed", Changed: true,
			State: provision.Failed, Failure: &provision.Failure{Message: "the job failed"}}}))
	}
	d.wantState(id, provision.Failed)
}

func (d *db) retry(id string) {
	d.t.Helper()
	if ok, err := d.Retry(d.t.Context(), id, []byte("new"), "tester"); !ok || err != nil {
		d.t.Fatal(ok, err)
	}
}

func TestARetryLooksFirstAndGetsANewMark(t *testing.T) {
	d := open(t)
	d.failed("a", false)
	first := one[string](d, `select mark::text from requests`)
	d.retry("a")
	if len(d.claim(time.Minute)) != 0 {
		t.Fatal("it calls before it looked")
	}
	l := d.looks(time.Minute)
	if len(l) != 1 || !l[0].Retried || l[0].Mark != first || l[0].MayHaveRun || l[0].Held != "" || l[0].Age > time.Minute {
		t.Fatalf("%+v", l)
	}
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{looked(l[0], provision.Next{State: provision.Pending, LookFirst: true})}))
	if l = d.looks(time.Minute); len(l) != 1 || !l[0].Retried || l[0].Mark != first {
		t.Fatalf("a look that was not conclusive ended the retry: %+v", l)
	}
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{looked(l[0], provision.Next{State: provision.Pending})}))
	c := d.claim(time.Minute)
	if len(c) != 1 || c[0].Mark == first || c[0].Attempt != 2 || string(c[0].SealedPassword) != "new" || c[0].Age != 0 || c[0].LastCode != "" {
		t.Fatalf("%+v", c)
	}
	if n := one[int](d, `select count(*) from marks m join requests r using (request_id) where m.mark::text = $1 or m.mark = r.mark`, first); n != 2 {
		t.Errorf("%d marks are kept, want 2", n)
	}
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(c[0])}))
	d.wantEvents("a", "accepted:pending creating:creating failed:failed retried:pending looked:pending looked:pending creating:creating building:building")
	if ok, err := d.Retry(t.Context(), "a", nil, "tester"); ok || err != nil {
		t.Errorf("a request that is being built was retried: %v, %v", ok, err)
	}
}

// Attempts from before a retry were settled: they no longer make anybody wait.
func TestOldAttemptsDoNotCountAfterARetry(t *testing.T) {
	d := open(t)
	d.accept("a")
	d.claim(0)
	l := d.looks(time.Minute)[0]
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{{RequestID: "a", Fence: l.Fence, Kind: "looked",
		Failure: &provision.Failure{Message: "too old"}, Next: provision.Next{State: provision.Failed}}}))
	d.retry("a")
	if l = d.looks(time.Minute)[0]; !l.MayHaveRun || l.LastOutcome != provision.OutcomeUnknown {
		t.Fatalf("the first look after a retry does not know of the old call: %+v", l)
	}
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{looked(l, provision.Next{State: provision.Pending})}))
	c := d.claim(time.Minute)[0]
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{answered(c, provision.OutcomeNotExecuted, provision.Next{State: provision.Pending, LookFirst: true})}))
	if l = d.looks(time.Minute)[0]; l.MayHaveRun || l.Retried {
		t.Errorf("the old call still counts: %+v", l)
	}
}

func TestTheInstanceOfAFailedRequest(t *testing.T) {
	t.Run("is followed again", func(t *testing.T) {
		d := open(t)
		d.failed("a", true)
		d.retry("a")
		l := d.looks(time.Minute)[0]
		if l.Held != "i-a" || !l.HeldFailed {
			t.Fatalf("%+v", l)
		}
		r := looked(l, provision.Next{State: provision.Building})
		r.Kind, r.Adopt = "adopted", &provision.Instance{ID: "i-a", Status: "normal"}
		d.must(d.RecordLooks(t.Context(), []provision.LookResult{r}))
		d.wantState("a", provision.Building)
		if p := d.polls(); len(p) != 1 || p[0].InstanceID != "i-a" || !p[0].Named || p[0].Age > time.Minute {
			t.Errorf("%+v", p)
		}
	})
	t.Run("is gone, and another one is made", func(t *testing.T) {
		d := open(t)
		d.failed("a", true)
		d.retry("a")
		r := looked(d.looks(time.Minute)[0], provision.Next{State: provision.Pending})
		r.Gone = "i-a"
		d.must(d.RecordLooks(t.Context(), []provision.LookResult{r}))
		again := created(d.claim(time.Minute)[0])
		again.Created.InstanceID, again.Created.JobID = "i-2", "j-2"
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{again}))
		if got := one[string](d, `select instance_id || ' ' || state from provisioning_history`); got != "i-2 building" {
			t.Errorf("history: %s", got)
		}
		if got := one[string](d, `select status from instances where gone_at is not null`); got != "deleted" {
			t.Errorf("the old one is %s", got)
		}
	})
	t.Run("is gone, and a lost one is found", func(t *testing.T) {
		d := open(t)
		d.failed("a", true)
		d.retry("a")
		r := looked(d.looks(time.Minute)[0], provision.Next{State: provision.Building})
		r.Gone, r.Kind, r.Adopt = "i-a", "adopted", &provision.Instance{ID: "i-3", Status: "normal"}
		d.must(d.RecordLooks(t.Context(), []provision.LookResult{r}))
		if p := d.polls(); len(p) != 1 || p[0].InstanceID != "i-3" || p[0].Named {
			t.Errorf("%+v", p)
		}
	})
	t.Run("is deleted when the retry is cancelled", func(t *testing.T) {
		d := open(t)
		d.failed("a", true)
		d.retry("a")
		d.wantCancelling(d.cancel("a"))
		if l := d.looks(time.Minute); len(l) != 1 || !l[0].Cancelling || l[0].Held != "i-a" {
			t.Errorf("%+v", l)
		}
	})
}

func TestWhatARetryStartsFrom(t *testing.T) {
	d := open(t)
	d.failed("a", true)
	without := newRequest("without", 77)
	without.SealedPassword = nil
	_, err := d.Accept(t.Context(), []provision.NewRequest{without}, provision.ClaimQuery{})
	d.must(err)
	for id, want := range map[string]provision.RetryFound{"a": {State: provision.Failed, HadPassword: true, InstanceID: "i-a"},
		"without": {State: provision.Pending}, "unknown": {}} {
		f, err := d.Retryable(t.Context(), id)
		d.must(err)
		if f.State != want.State || f.HadPassword != want.HadPassword || f.InstanceID != want.InstanceID || (f.State != "" && !strings.Contains(string(f.Spec), "name-"+id)) {
			t.Errorf("%s: %+v", id, f)
		}
	}
	for want, f := range map[string]provision.RetryFound{"give a new one with --password-file": {State: provision.Failed, HadPassword: true},
		"publish it again under a new id": {State: provision.Cancelled}, "nothing to retry": {State: provision.Ready}, "goes on by itself": {State: provision.Building},
		"no request has this id": {}, `request "b" has the same name`: {State: provision.Failed, NameHeldBy: "b"}, "correct what the reasons name": {State: provision.Rejected}} {
		if got := f.Problem(false); !strings.Contains(got, want) {
			t.Errorf("%+v: %q lacks %q", f, got, want)
		}
	}
}

// The deadline counts from the first call, without the time in which nobody could try.
func TestWaitingDoesNotCountToTheDeadline(t *testing.T) {
	d := open(t)
	d.accept("a")
	_, err := d.sql.Exec(t.Context(), `update requests set next_attempt_at = now() - interval '5 hours'`)
	d.must(err)
	c := d.claim(time.Minute)[0] // for five hours nobody came
	if c.Age != 0 {
		t.Fatalf("before the first call the age is %s", c.Age)
	}
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{answered(c, provision.OutcomeNotExecuted, provision.Next{State: provision.Pending})}))
	_, err = d.sql.Exec(t.Context(), `update requests set first_attempt_at = now() - interval '3 hours', next_attempt_at = now() - interval '2 hours'`)
	d.must(err)
	c = d.claim(time.Minute)[0]
	if c.Age < time.Hour || c.Age > time.Hour+10*time.Minute {
		t.Errorf("three hours after its first call, two of which nobody came, the age is %s", c.Age)
	}
	unsent := answered(c, provision.OutcomeNotExecuted, provision.Next{State: provision.Pending, Delay: 30 * time.Minute, LookFirst: true})
	unsent.Failure.Class, unsent.Took = provision.ClassNotSent, time.Minute
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{unsent}))
	_, err = d.sql.Exec(t.Context(), `update requests set first_attempt_at = first_attempt_at - interval '31 minutes', next_attempt_at = now()`)
	d.must(err)
	l := d.looks(time.Minute)[0]
	if l.Age < time.Hour || l.Age > time.Hour+10*time.Minute {
		t.Errorf("31 minutes without a login later the age is %s", l.Age)
	}
	failed := looked(l, provision.Next{State: provision.Pending, Delay: time.Hour, LookFirst: true})
	failed.Unsent = true
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{failed}))
	_, err = d.sql.Exec(t.Context(), `update requests set first_attempt_at = first_attempt_at - interval '1 hour', next_attempt_at = now()`)
	d.must(err)
	if l := d.looks(time.Minute)[0]; l.Age > time.Hour+10*time.Minute {
		t.Errorf("an hour in which no look could leave later the age is %s", l.Age)
	}
}

// What a build waits for is shown, and a poll that changes nothing writes nothing.
func TestABuildShowsWhatItWaitsFor(t *testing.T) {
	d := open(t)
	d.accept("a")
	r := created(d.claim(time.Minute)[0])
	r.Created.JobID, r.Created.OrderID = "", "CS1"
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{r}))
	p := d.polls()[0]
	if p.OrderID != "CS1" || p.Seen {
		t.Fatalf("%+v", p)
	}
	waits := provision.PollResult{RequestID: "a", InstanceID: "i-a", State: provision.Building, WaitingFor: "order CS1 to be paid"}
	var versions []string
	for range 2 {
		d.must(d.RecordPolls(t.Context(), []provision.PollResult{waits}))
		versions = append(versions, one[string](d, `select xmin::text from requests`))
	}
	if versions[0] != versions[1] {
		t.Error("a poll that saw the same wrote the request again")
	}
	if got := one[string](d, `select error_message from provisioning_history`); got != waits.WaitingFor {
		t.Errorf("history: %s", got)
	}
	waits.State, waits.Gone, waits.Failure = provision.Failed, true, &provision.Failure{Message: "somebody deleted it"}
	d.must(d.RecordPolls(t.Context(), []provision.PollResult{waits}))
	if got := one[string](d, `select state || ' ' || instance_status || ' ' || error_message from provisioning_history`); got != "failed deleted somebody deleted it" {
		t.Errorf("history: %s", got)
	}
}
