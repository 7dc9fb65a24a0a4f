package store_test

import (
	"slices"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

// backlog writes n due requests of a project whose tags are proved.
func (d *db) backlog(project string, n int) {
	d.t.Helper()
	d.must(d.NoteMarksSeen(d.t.Context(), project))
	_, err := d.sql.Exec(d.t.Context(), `
		insert into requests (request_id, state, project_id, region, name, mode, prepaid, spec, fingerprint, stream_sequence, received_at, next_attempt_at)
		select $1 || '-' || g, 'pending', $1, $2, 'n' || g, 'Single', false, '{}', sha256(g::text::bytea), g, now(), now() - make_interval(secs => $3 - g)
		from generate_series(1, $3::int) g`, project, region, n)
	d.must(err)
	_, err = d.sql.Exec(d.t.Context(), `analyze requests`)
	d.must(err)
}

func TestABacklogDoesNotDelayAnotherProject(t *testing.T) {
	d := open(t)
	d.backlog("full", 100_000)
	d.backlog("small", 3)
	claim := func(limit int, most map[string]int, projects ...string) (of map[string]int) {
		t.Helper()
		claims, err := d.ClaimCreates(t.Context(), provision.ClaimQuery{Worker: "w", Limit: limit, Most: most, Lease: time.Minute,
			Served: provision.Served{Region: region, Projects: projects}})
		d.must(err)
		of = map[string]int{}
		for _, c := range claims {
			of[c.ProjectID]++
		}
		return of
	}
	if of := claim(8, nil, "full", "small"); of["small"] != 3 || of["full"] != 5 {
		t.Errorf("a claim of 8 took %v, want 3 of the small project and the rest of the full one", of)
	}
	if of := claim(8, map[string]int{"full": 2}, "full", "small"); of["full"] != 2 {
		t.Errorf("a claim of at most 2 of the full project took %v", of)
	}
	d.backlog("single", 1)
	for n := 1; claim(1, nil, "full", "single")["single"] == 0; n++ {
		if n == 30 { // once in a billion runs
			t.Fatal("30 claims of one request passed the single one by")
		}
	}
	d.backlog("few", 1000)
	took := func(project string) time.Duration {
		times := make([]time.Duration, 20)
		for i := range times {
			began := time.Now()
			claim(32, nil, project)
			times[i] = time.Since(began)
		}
		slices.Sort(times)
		return times[len(times)/2]
	}
	few, full := took("few"), took("full")
	t.Logf("a claim of 32 takes %v of 1,000 waiting and %v of 100,000", few, full)
	if full > 3*few+5*time.Millisecond {
		t.Errorf("a claim takes %v of 100,000 waiting, and %v of 1,000", full, few)
	}
}

func TestWhatWasNotSentLeavesOneAttempt(t *testing.T) {
	d := open(t)
	d.accept("a")
	notSent := func(c provision.CreateClaim) provision.CreateResult {
		return provision.CreateResult{RequestID: "a", Fence: c.Fence, Attempt: c.Attempt, Outcome: provision.OutcomeNotExecuted,
			Failure: &provision.Failure{Class: provision.ClassNotSent, Message: "no way"},
			Next:    provision.Next{State: provision.Pending, WaitingFor: "a way"}}
	}
	var stale provision.CreateResult
	for n := range 3 {
		c := d.claim(time.Minute)[0]
		if c.Attempt != 1 || c.Fence != int64(n+1) {
			t.Fatalf("claim %d: %+v", n, c)
		}
		if n > 0 { // the outcome before, written twice
			d.must(d.RecordCreates(t.Context(), []provision.CreateResult{stale}))
			d.wantState("a", provision.Creating)
			if open := one[bool](d, `select outcome is null and finished_at is null and error_class is null from attempts`); !open {
				t.Fatal("the intent does not stand in the attempt")
			}
		}
		stale = notSent(c)
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{stale}))
	}
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(d.claim(time.Minute)[0])}))
	if got := one[string](d, `select string_agg(concat_ws(' ', number, fence, outcome, instance_id), ', ') from attempts`); got != "1 4 created i-a" {
		t.Errorf("attempts: %s", got)
	}
}

func TestAnAttemptThatMayHaveRunKeepsItsRow(t *testing.T) {
	d := open(t)
	d.accept("a")
	record := func(c provision.CreateClaim, class provision.Class, o provision.Outcome, next provision.State) {
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{{RequestID: "a", Fence: c.Fence, Attempt: c.Attempt, Outcome: o,
			Failure: &provision.Failure{Class: class, Message: "no"}, Next: provision.Next{State: next}}}))
	}
	record(d.claim(time.Minute)[0], provision.ClassNotSent, provision.OutcomeNotExecuted, provision.Pending)
	lost := d.claim(0)[0] // its worker dies
	look := d.looks(time.Minute)[0]
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{{RequestID: "a", Fence: look.Fence, Kind: "looked", Next: provision.Next{State: provision.Pending}}}))
	next := d.claim(time.Minute)[0]
	if lost.Attempt != 1 || next.Attempt != 2 {
		t.Errorf("attempts %d and %d, want 1 and 2", lost.Attempt, next.Attempt)
	}
	if got := one[string](d, `select string_agg(concat_ws(' ', number, coalesce(outcome, 'open')), ', ' order by number) from attempts`); got != "1 unknown, 2 open" {
		t.Errorf("attempts: %s", got)
	}
	// A look between two calls that were not sent keeps the first one's row, too.
	record(next, provision.ClassNotSent, provision.OutcomeNotExecuted, provision.Pending)
	_, err := d.sql.Exec(t.Context(), `update requests set look_first = true`)
	d.must(err)
	look = d.looks(time.Minute)[0]
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{{RequestID: "a", Fence: look.Fence, Kind: "looked", Next: provision.Next{State: provision.Pending}}}))
	if c := d.claim(time.Minute)[0]; c.Attempt != 3 {
		t.Errorf("after a look it is attempt %d, want 3", c.Attempt)
	}
}
