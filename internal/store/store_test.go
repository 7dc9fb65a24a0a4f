package store_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
	"ddsworker/migrations"
)

func TestTwentyMigrateAtOnce(t *testing.T) {
	url := env.EmptyPostgres(t)
	var g errgroup.Group
	for range 20 {
		g.Go(func() error {
			_, err := store.Migrate(t.Context(), url, migrations.Files)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := store.Check(t.Context(), url, migrations.Files); err != nil {
		t.Fatal(err)
	}
}

func TestCheckTellsWhatIsWrong(t *testing.T) {
	if err := store.Check(t.Context(), env.EmptyPostgres(t), migrations.Files); err == nil || !strings.Contains(err.Error(), "worker migrate") {
		t.Errorf("empty database: %v", err)
	}
	d := open(t)
	_, err := d.sql.Exec(t.Context(), `insert into goose_db_version (version_id, is_applied) values (999, true)`)
	d.must(err)
	url := d.sql.Config().ConnString()
	if err := store.Check(t.Context(), url, migrations.Files); !errors.Is(err, store.ErrTooNew) {
		t.Errorf("newer database: check says %v", err)
	}
	if _, err := store.Migrate(t.Context(), url, migrations.Files); !errors.Is(err, store.ErrTooNew) {
		t.Errorf("newer database: migrate says %v", err)
	}
}

func TestStatesOfTheTableAreTheMachines(t *testing.T) {
	d := open(t)
	check := one[string](d, `select pg_get_constraintdef(oid) from pg_constraint
		where conrelid = 'requests'::regclass and pg_get_constraintdef(oid) like '%pending%ready%failed%cancelled%building%'
		or conname = 'requests_state_check'`)
	for _, s := range provision.States() {
		in := strings.Contains(check, "'"+string(s)+"'")
		if s == provision.Rejected { // a rejection never becomes a request
			in = !in
		}
		if !in {
			t.Errorf("state %s and the CHECK disagree: %s", s, check)
		}
	}
}

func TestAcceptTellsWhatItFound(t *testing.T) {
	d := open(t)
	d.accept("a", "b")
	other := newRequest("b", 9)
	other.Fingerprint[5] = 1
	found, err := d.Accept(t.Context(), []provision.NewRequest{newRequest("a", 7), other, newRequest("c", 8)}, provision.ClaimQuery{})
	d.must(err)
	want := []provision.Acceptance{{Found: provision.Duplicate}, {Found: provision.Conflicting}, {Found: provision.Accepted}}
	if !slices.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
	d.wantEvents("a", "accepted:pending")
}

func TestRowsThatPostgresWillNotTake(t *testing.T) {
	d := open(t)
	for name, spec := range map[string]string{"nul": `{"a":"\u0000"}`, "surrogate": `{"a":"\ud800"}`, "number": `{"a":1e400000}`, "text": `{`} {
		r := newRequest("x-"+name, 1)
		r.Spec = []byte(spec)
		if _, err := d.Accept(t.Context(), []provision.NewRequest{r, newRequest("good", 2)}, provision.ClaimQuery{}); !errors.Is(err, provision.ErrUnstorable) {
			t.Errorf("%s: got %v, want ErrUnstorable", name, err)
		}
	}
	if n := one[int](d, `select count(*) from requests`); n != 0 {
		t.Errorf("%d rows of refused batches are there", n)
	}
}

func TestRejectionsAreRecordedOnce(t *testing.T) {
	d := open(t)
	r := provision.Rejection{RequestID: "bad", Code: provision.CodeRules, Size: 12, ReceivedAt: time.Unix(5, 0), Sequence: 3,
		Reasons: provision.Violations{{Path: "name", Given: `"1"`, Allowed: "a letter first"}, {Path: "mode", Given: "absent", Allowed: "a mode"}}}
	for range 2 {
		d.reject(r)
	}
	if n := one[int](d, `select count(*) from rejections`); n != 1 {
		t.Errorf("%d rejections of one delivery", n)
	}
	d.wantEvents("bad", "rejected:rejected")
	if got := one[string](d, `select state || '|' || error_code || '|' || error_message from provisioning_history where request_id = 'bad'`); got !=
		`rejected|RULES|name: given "1", allowed a letter first; mode: given absent, allowed a mode` {
		t.Errorf("history says %s", got)
	}
	// A refusal that concerns a known id does not change what the request is.
	d.accept("good")
	r.RequestID, r.Sequence, r.Code = "good", 4, provision.CodeIDReused
	d.reject(r)
	d.wantEvents("good", "accepted:pending refused:pending")
	if n := one[int](d, `select count(*) from provisioning_history where request_id = 'good' and state = 'pending'`); n != 1 {
		t.Error("the request is not shown once, as pending")
	}
	// Nor does the message that it came with, should a worker with other rules get it again.
	if n := one[int](d, `with r as (select stream_sequence, received_at from requests where request_id = 'good')
		select count(*) from r join rejections using (stream_sequence, received_at)`); n != 0 {
		t.Fatal("the refusal above has the place of the request itself")
	}
	r.Code, r.Sequence, r.ReceivedAt = provision.CodeRules, one[uint64](d, `select stream_sequence from requests where request_id = 'good'`), newRequest("good", 0).ReceivedAt
	d.reject(r)
	if n := one[int](d, `select count(*) from rejections where request_id = 'good'`); n != 1 {
		t.Errorf("%d rejections of a request and one message with its id, want that of the message", n)
	}
}

func TestALifeFromPendingToReady(t *testing.T) {
	d := open(t)
	d.accept("a")
	claims := d.claim(time.Minute)
	if len(claims) != 1 || claims[0].Attempt != 1 || claims[0].Fence != 1 || string(claims[0].SealedPassword) != "sealed" {
		t.Fatalf("claims %+v", claims)
	}
	d.wantState("a", provision.Creating)
	if again := d.claim(time.Minute); len(again) != 0 {
		t.Fatalf("a claimed request was claimed again: %+v", again)
	}
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(claims[0])}))
	d.wantState("a", provision.Building)
	if sealed := one[bool](d, `select sealed_password is null from requests`); !sealed {
		t.Error("the sealed password was not erased when the request left creating")
	}
	polls := d.polls()
	if len(polls) != 1 || polls[0].JobID != "j-a" {
		t.Fatalf("polls %+v", polls)
	}
	seen := provision.PollResult{RequestID: "a", InstanceID: "i-a", JobID: "j-a", JobStatus: "Running", Progress: 40, State: provision.Building, Changed: true}
	d.must(d.RecordPolls(t.Context(), []provision.PollResult{seen}))
	seen.JobStatus, seen.Progress, seen.State = "Completed", 100, provision.Ready
	seen.Instance = &provision.Instance{ID: "i-a", Status: "normal", Port: "8635", Addresses: []string{"10.0.0.1:8635"}, Detail: []byte(`{"id":"i-a"}`)}
	d.must(d.RecordPolls(t.Context(), []provision.PollResult{seen}))
	d.wantState("a", provision.Ready)
	d.wantEvents("a", "accepted:pending creating:creating building:building progress:building ready:ready")
	history := one[string](d, `select concat_ws('|', state, instance_id, instance_status, job_id, job_status, progress, attempts,
		error_code, finished_at is not null, created_at is not null) from provisioning_history`)
	if history != "ready|i-a|normal|j-a|Completed|100|1|t|t" {
		t.Errorf("history says %s", history)
	}
	if left := d.polls(); len(left) != 0 {
		t.Errorf("a ready instance is still followed: %+v", left)
	}
	// What comes late changes nothing.
	seen.State, seen.Failure = provision.Failed, &provision.Failure{Message: "late"}
	d.must(d.RecordPolls(t.Context(), []provision.PollResult{seen}))
	d.wantState("a", provision.Ready)
}

func TestTheFenceHoldsBackWhoeverWasPaused(t *testing.T) {
	d := open(t)
	d.accept("a")
	paused := d.claim(0)[0] // its lease ends at once
	taken := d.looks(time.Minute)
	if len(taken) != 1 || taken[0].Fence != 2 || taken[0].LastOutcome != provision.OutcomeUnknown || taken[0].Settled {
		t.Fatalf("looks %+v", taken)
	}
	late := created(paused)
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{late}))
	d.wantState("a", provision.Creating)
	if n := one[int](d, `select count(*) from instances`); n != 0 {
		t.Error("a stale fencing number wrote an instance")
	}
	if got := one[string](d, `select outcome || ' ' || instance_id from attempts`); got != "created i-a" {
		t.Errorf("the attempt says %s: what the paused worker saw is hidden", got)
	}
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{{RequestID: "a", Fence: d.looks(time.Minute)[0].Fence, Kind: "adopted",
		Adopt: &provision.Instance{ID: "i-a", Status: "creating"}, Orphans: []provision.Instance{{ID: "i-2", Name: "n", Status: "normal"}},
		Next: provision.Next{State: provision.Building}}}))
	d.wantState("a", provision.Building)
	if got := one[string](d, `select instance_id || ' ' || request_id from orphans`); got != "i-2 a" {
		t.Errorf("orphans: %s", got)
	}
	if p := d.polls(); len(p) != 1 || p[0].JobID != "" {
		t.Errorf("an adopted instance is not followed: %+v", p)
	}
}

func TestAnInstanceBelongsToOneRequest(t *testing.T) {
	d := open(t)
	d.accept("a", "b")
	claims := d.claim(time.Minute)
	first, second := created(claims[0]), created(claims[1])
	second.Created.InstanceID, second.Created.JobID = first.Created.InstanceID, ""
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{first}))
	if err := d.RecordCreates(t.Context(), []provision.CreateResult{second}); !errors.Is(err, provision.ErrUnstorable) {
		t.Errorf("a second request took the same instance: %v", err)
	}
	d.wantState(second.RequestID, provision.Creating)
}

func TestARepeatedCodeIsCounted(t *testing.T) {
	d := open(t)
	d.accept("a")
	for n := 1; n <= 3; n++ {
		c := d.claim(time.Minute)[0]
		if c.Repeats != max(0, n-1) || c.Attempt != n {
			t.Fatalf("attempt %d: %+v", n, c)
		}
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{{RequestID: "a", Fence: c.Fence, Attempt: n, Outcome: provision.OutcomeNotExecuted,
			Failure: &provision.Failure{Code: "DBS.280443", Message: "too many", Class: provision.ClassRate, HTTPStatus: 429, CloudRequestID: "r"},
			Next:    provision.Next{State: provision.Pending, WaitingFor: "its turn"}}}))
	}
	if got := one[string](d, `select error_message from provisioning_history`); got != "its turn" {
		t.Errorf("a pending request says %q instead of what it waits for", got)
	}
	if n := one[int](d, `select count(*) from attempts where outcome = 'not_executed' and error_code = 'DBS.280443' and cloud_request_id = 'r' and http_status = 429`); n != 3 {
		t.Errorf("%d attempts recorded, want 3", n)
	}
}

func TestUnprovedTagsMeanLookingFirst(t *testing.T) {
	d := open(t)
	batch := []provision.NewRequest{newRequest("a", 1), newRequest("b", 2), newRequest("c", 3)}
	batch[1].Name = batch[0].Name
	_, err := d.Accept(t.Context(), batch, provision.ClaimQuery{})
	d.must(err)
	if c := d.claim(time.Minute); len(c) != 0 {
		t.Fatalf("called before it looked: %+v", c)
	}
	looks := d.looks(time.Minute)
	if len(looks) != 3 || looks[0].MarksSeen || !looks[0].Settled {
		t.Fatalf("looks %+v", looks)
	}
	for _, l := range looks { // one of two of a name gets its turn
		d.must(d.RecordLooks(t.Context(), []provision.LookResult{{RequestID: l.RequestID, Fence: l.Fence, Kind: "looked",
			Namesakes: []string{}, Next: provision.Next{State: provision.Pending}}}))
	}
	if c := d.claim(time.Minute); len(c) != 2 {
		t.Fatalf("%d requests may call, want one of each name: %+v", len(c), c)
	}
	if got := one[string](d, `select waiting_for from requests where look_first`); !strings.Contains(got, "same name") {
		t.Errorf("the other one waits for %q", got)
	}
	// Once a mark came back nobody has to look first, nor to wait for a name.
	d.must(d.NoteMarksSeen(t.Context(), project))
	if c := d.claim(time.Minute); len(c) != 1 {
		t.Errorf("%d requests may call after the tags were proved, want 1", len(c))
	}
}

func TestClaimsAreSharedAndServed(t *testing.T) {
	d := open(t)
	d.accept(ids(100, "r")...)
	elsewhere := newRequest("elsewhere", 1000)
	elsewhere.Region = "bbb"
	_, err := d.Accept(t.Context(), []provision.NewRequest{elsewhere}, provision.ClaimQuery{})
	d.must(err)
	claimed := make([][]provision.CreateClaim, 4)
	var g errgroup.Group
	for w := range claimed {
		g.Go(func() (err error) {
			for range 10 {
				more, err := d.ClaimCreates(t.Context(), provision.ClaimQuery{Served: served, Worker: "w", Limit: 7, Lease: time.Minute})
				if err != nil {
					return err
				}
				claimed[w] = append(claimed[w], more...)
			}
			return nil
		})
	}
	d.must(g.Wait())
	seen := map[string]bool{}
	for _, c := range slices.Concat(claimed...) {
		if seen[c.RequestID] {
			t.Fatalf("%s was claimed twice", c.RequestID)
		}
		seen[c.RequestID] = true
	}
	if len(seen) != 100 || seen["elsewhere"] {
		t.Errorf("%d claimed, want the 100 of the region served", len(seen))
	}
}
