package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
)

// asOwner is a Store that may do what an operator does.
func (d *db) asOwner() *store.Store {
	d.t.Helper()
	s, err := store.Open(d.t.Context(), store.Config{URL: provision.NewSecret(d.url)})
	d.must(err)
	d.t.Cleanup(s.Close)
	return s
}

// recovers recovers with what the stream tells.
func (d *db) recovers(told ...provision.Told) provision.Recovered {
	d.t.Helper()
	last := int64(0)
	for i := range told {
		told[i].At, last = time.Unix(1800000000, 0), max(last, told[i].EventID)
	}
	r, err := d.asOwner().Recover(d.t.Context(), d.identity(), time.Hour, 0, last, told)
	d.must(err)
	return r
}

// A recovery takes over what the stream tells, has everything else looked for,
// and fences whoever was at work.
func TestRecover(t *testing.T) {
	d := open(t)
	d.accept("waits", "called", "told", "cancelled", "builds", "ready")
	claims := map[string]provision.CreateClaim{}
	for _, c := range d.claim(time.Hour) {
		claims[c.RequestID] = c
	}
	for _, id := range []string{"builds", "ready"} {
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(claims[id])}))
	}
	for _, id := range []string{"waits", "told", "cancelled"} { // as in the backup
		r := created(claims[id])
		r.Outcome, r.Created, r.Next = provision.OutcomeNotExecuted, provision.Created{}, provision.Next{State: provision.Pending, Delay: time.Hour}
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{r}))
	}
	_, err := d.sql.Exec(t.Context(), `update requests set state = 'ready', finished_at = now() where request_id = 'ready'`)
	d.must(err)

	at := time.Unix(1800000000, 0)
	told := []provision.Told{
		{RequestID: "told", State: provision.Ready, InstanceID: "i-told", JobID: "j-told", EventID: 5001, At: at},
		{RequestID: "cancelled", State: provision.Cancelled, InstanceID: "i-cancelled", EventID: 5002, At: at},
		{RequestID: "lost", State: provision.Building, InstanceID: "i-lost", JobID: "j-lost", EventID: 5003, At: at},
		{RequestID: "lost-early", State: provision.Pending, EventID: 5004, At: at},
		{RequestID: "ready", State: provision.Ready, InstanceID: "i-ready", EventID: 5005, At: at},
	}
	if _, err := d.Recover(t.Context(), d.identity(), time.Hour, 0, 5005, told); err == nil {
		t.Fatal("a worker's rights suffice")
	}
	r, err := d.asOwner().Recover(t.Context(), d.identity(), time.Hour, 0, 5005, told)
	d.must(err)
	if r.Epoch != 2 || r.LookFirst != 2 || r.Adopted != 1 || r.Cancelled != 1 || r.Building != 2 || len(r.Lost) != 2 || r.Lost[0].RequestID != "lost" {
		t.Errorf("recovered: %+v", r)
	}
	for id, state := range map[string]provision.State{"waits": provision.Pending, "called": provision.Creating, "told": provision.Building,
		"cancelled": provision.Cancelled, "builds": provision.Building, "ready": provision.Ready} {
		d.wantState(id, state)
	}
	if id := d.identity(); id.Home != id.Here || id.Epoch != 2 || one[int64](d, `select max(id) from events`) <= 5005+900 {
		t.Errorf("the identity: %+v", id)
	}
	if n := one[int](d, `select count(*) from rejections where code = $1 and stream_sequence < 0`, provision.CodeLost); n != 2 {
		t.Errorf("%d requests are told as lost, want 2", n)
	}

	// Whoever was at work writes nothing any more, and his answer is found.
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(claims["called"])}))
	d.wantState("called", provision.Creating)
	for _, c := range d.looks(time.Hour) {
		if !c.MayHaveRun || c.Settled {
			t.Errorf("%s: may have run %v, settled %v", c.RequestID, c.MayHaveRun, c.Settled)
		}
		d.must(d.RecordLooks(t.Context(), []provision.LookResult{{RequestID: c.RequestID, Fence: c.Fence, Kind: "looked", Next: provision.Next{State: provision.Pending}}}))
	}
	if got := one[string](d, `select string_agg(request_id, ' ' order by request_id) from requests where state = 'pending' and not may_have_run and not look_first`); got != "called waits" {
		t.Errorf("looked for: %s", got)
	}
}

// What commits between the restore and the recovery draws ids that the stream has for
// other events. It gets new ones, in the same order, and is left as it is otherwise.
func TestARecoveryMovesWhatCameAfterTheRestore(t *testing.T) {
	d := open(t)
	d.accept("a", "b")
	d.must(d.MarkPublished(t.Context(), provision.Published{Last: 2, Batches: []int64{1}}))
	d.accept("c", "d") // of this batch the stream has the first one alone
	d.cancel("a")
	d.exec(`update requests set cancel_requested_at = now() where request_id = 'b'`)
	d.wantOutbox(2, 3, 4, 5, 6, 7)
	const rows = `select string_agg((to_jsonb(e) - 'id')::text, ' ' order by id) from events e where kind <> 'recovered'`
	before := one[string](d, rows)
	_, err := d.asOwner().Recover(t.Context(), d.identity(), time.Hour, 3, 9, nil)
	d.must(err)
	if after := one[string](d, rows); after != before {
		t.Errorf("the events were\n%s\nand are\n%s", before, after)
	}
	d.must(d.MarkPublished(t.Context(), provision.Published{After: 2, Last: 9, IDs: []int64{3, 4, 5, 6, 7, 8, 9}}))
	if got := one[string](d, `select coalesce(string_agg(kind || ' ' || request_id, ', ' order by id), '') from events where id = any(
		select unnest(events) from outbox where batch < (select max(batch) from outbox)) and id > 9`); got != "accepted d, cancelling a, cancelled a, cancelling b" {
		t.Errorf("to be published: %s", got)
	}
}

// That tags are proved says nothing of what a restored database does not know.
func TestARestoredRequestLooksThoughTagsAreProved(t *testing.T) {
	d := open(t)
	_, err := d.Accept(t.Context(), []provision.NewRequest{newRequest("a", 1)}, provision.ClaimQuery{})
	d.must(err)
	_, err = d.asOwner().Recover(t.Context(), d.identity(), time.Hour, 0, 0, nil)
	d.must(err)
	d.must(d.NoteMarksSeen(t.Context(), project))
	if c := d.claim(time.Minute); len(c) != 0 {
		t.Fatalf("it is called without a look: %+v", c)
	}
	for range 2 { // a look that is not conclusive changes nothing of that
		l := d.looks(time.Minute)
		if len(l) != 1 || !l[0].MayHaveRun || !l[0].Restored {
			t.Fatalf("looked for: %+v", l)
		}
		d.must(d.RecordLooks(t.Context(), []provision.LookResult{looked(l[0], provision.Next{State: provision.Pending, LookFirst: true})}))
	}
}

// A call that is begun while a recovery waits for a row counts from when it began.
func TestARecoveryCountsFromWhenItHoldsTheRows(t *testing.T) {
	d := open(t)
	d.accept("a")
	owner, id := d.asOwner(), d.identity()
	tx, err := d.sql.Begin(t.Context())
	d.must(err)
	_, err = tx.Exec(t.Context(), `update requests set look_first = look_first`)
	d.must(err)
	done := make(chan error, 1)
	go func() {
		_, err := owner.Recover(context.WithoutCancel(t.Context()), id, time.Hour, 0, 0, nil)
		done <- err
	}()
	d.until("the recovery waits", done, `select count(*) = 1 from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))`)
	_, err = tx.Exec(t.Context(), `update requests set settled_at = clock_timestamp() + interval '1 hour'`)
	d.must(err)
	want := one[time.Time](d, `select settled_at from requests`)
	d.must(tx.Commit(t.Context()))
	d.must(<-done)
	if got := one[time.Time](d, `select settled_at from requests`); got.Before(want) {
		t.Errorf("a call that can appear until %s counts as settled at %s", want, got)
	}
}

// What failed in the backup may have been retried and handed out since: its
// instance is nobody's orphan, and another retry finds it.
func TestAnInstanceThatOnlyTheEventsKnowIsNoOrphan(t *testing.T) {
	d := open(t)
	itsMark := d.failedRequest("a")
	r, err := d.asOwner().Recover(t.Context(), d.identity(), time.Hour, 0, 5001, []provision.Told{
		{RequestID: "a", State: provision.Ready, InstanceID: "i-told", JobID: "j-told", EventID: 5001, At: time.Unix(1800000000, 0)}})
	d.must(err)
	facts, err := d.MarkFacts(t.Context(), []provision.Instance{{ID: "i-told", Tags: map[string]string{mark: itsMark}}}, time.Now())
	d.must(err)
	if r.Kept != 1 || !facts["i-told"].Recorded {
		t.Errorf("an instance that was handed out is taken for an orphan: %+v, %+v", r, facts["i-told"])
	}
	d.retry("a")
	if l := d.looks(time.Minute); len(l) != 1 || l[0].Held != "i-told" {
		t.Errorf("a retry does not find it: %+v", l)
	}
}

// What was handed out since the backup is in use: whoever wishes its request
// cancelled, before the recovery or after it, does not have it deleted.
func TestWhatWasHandedOutIsNotCancelled(t *testing.T) {
	for name, before := range map[string]func(*db){
		"it was being built": func(d *db) {
			d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(d.claim(time.Minute)[0])}))
		},
		"it was called for": func(d *db) { d.claim(time.Minute) },
		"it was retried": func(d *db) {
			d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(d.claim(time.Minute)[0])}))
			d.must(d.RecordPolls(t.Context(), []provision.PollResult{{RequestID: "a", InstanceID: "i-a", State: provision.Failed, Failure: &provision.Failure{}}}))
			d.retry("a")
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			d.accept("a")
			before(d)
			if f := d.cancel("a"); !f.Wished || f.State == provision.Cancelled {
				t.Fatalf("the wish: %+v", f)
			}
			d.recovers(provision.Told{RequestID: "a", State: provision.Ready, InstanceID: "i-a", JobID: "j-a", EventID: 5001})
			if one[bool](d, `select cancel_requested_at is not null from requests`) {
				t.Error("it is wished cancelled still")
			}
			if n := one[int](d, `select count(*) from events where kind = 'recovered' and detail like '%not cancelled%'`); n != 1 {
				t.Errorf("%d events tell that it is not cancelled, want 1", n)
			}
			if f := d.cancel("a"); f.Wished || !strings.Contains(f.Problem(), "delete instance i-a in the console") {
				t.Errorf("after it: %+v, %s", f, f.Problem())
			}
			if _, err := d.sql.Exec(t.Context(), `update requests set cancel_requested_at = now()`); err == nil || !strings.Contains(err.Error(), "cannot be cancelled") {
				t.Errorf("in SQL: %v", err)
			}
			for _, l := range d.looks(time.Minute) {
				if l.Cancelling || l.Held != "i-a" {
					t.Errorf("looked for: %+v", l)
				}
				adopt := looked(l, provision.Next{State: provision.Building})
				adopt.Adopt = &provision.Instance{ID: "i-a", Status: "normal"}
				d.must(d.RecordLooks(t.Context(), []provision.LookResult{adopt}))
			}
			if p := d.polls(); len(p) != 1 || p[0].InstanceID != "i-a" || p[0].Cancelling {
				t.Errorf("polled: %+v", p)
			}
		})
	}
}

// A request that was pending in the backup is cancelled at once: what it was given
// since is in use, and nobody's orphan.
func TestTheInstanceOfACancelledRequestIsKept(t *testing.T) {
	d := open(t)
	d.accept("a")
	itsMark := one[string](d, `select mark::text from requests`)
	if f := d.cancel("a"); f.State != provision.Cancelled {
		t.Fatalf("the wish: %+v", f)
	}
	r := d.recovers(provision.Told{RequestID: "a", State: provision.Ready, InstanceID: "i-told", EventID: 5001})
	facts, err := d.MarkFacts(t.Context(), []provision.Instance{{ID: "i-told", Tags: map[string]string{mark: itsMark}}}, time.Now())
	d.must(err)
	if r.Kept != 1 || !facts["i-told"].Recorded {
		t.Errorf("it is taken for an orphan: %+v, %+v", r, facts["i-told"])
	}
	d.wantState("a", provision.Cancelled)
	d.wantEvents("a", "accepted:pending cancelling:pending cancelled:cancelled recovered:cancelled")
}

// A retry since the backup made a call under a mark that nobody knows: whoever retries
// again looks for it, and does not call beside it.
func TestARetryThatOnlyTheEventsKnowIsLookedFor(t *testing.T) {
	for name, before := range map[string]func(*db){
		"it had failed": func(d *db) { d.failed("a", false) },
		"it was being built": func(d *db) {
			d.accept("a")
			d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(d.claim(time.Minute)[0])}))
			d.cancel("a") // it could not be deleted
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			before(d)
			r := d.recovers(provision.Told{RequestID: "a", State: provision.Creating, EventID: 5001})
			if r.Retried != 1 || one[bool](d, `select cancel_requested_at is not null from requests`) {
				t.Errorf("recovered: %+v", r)
			}
			if one[string](d, `select state from requests`) == "building" {
				d.must(d.RecordPolls(t.Context(), []provision.PollResult{{RequestID: "a", InstanceID: "i-a", State: provision.Failed, Failure: &provision.Failure{}}}))
			} else if got := one[string](d, `select error_message from provisioning_history`); !strings.Contains(got, "retry it to have that looked for") {
				t.Errorf("the history says %s", got)
			}
			d.retry("a")
			if l := d.looks(time.Minute); len(l) != 1 || !l[0].Restored || l[0].Settled {
				t.Errorf("looked for: %+v", l)
			}
		})
	}
}

// What was wished cancelled since the backup is not built on and handed out.
func TestAWishThatOnlyTheEventsKnowIsFulfilled(t *testing.T) {
	for name, before := range map[string]func(*db){
		"it waited":         func(d *db) {},
		"it was called for": func(d *db) { d.claim(time.Minute) },
		"it was being built": func(d *db) {
			d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(d.claim(time.Minute)[0])}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			d.accept("a")
			before(d)
			if r := d.recovers(provision.Told{RequestID: "a", State: provision.Building, EventID: 5001, Cancelling: true}); r.Cancelling != 1 {
				t.Errorf("recovered: %+v", r)
			}
			if one[bool](d, `select cancel_requested_at is null or sealed_password is not null from requests`) {
				t.Error("it is not wished cancelled")
			}
			looks, polls := d.looks(time.Minute), d.polls()
			if len(looks)+len(polls) != 1 || len(looks) == 1 && !looks[0].Cancelling || len(polls) == 1 && !polls[0].Cancelling {
				t.Errorf("looked for: %+v, polled: %+v", looks, polls)
			}
		})
	}
}

// A retry since the backup may have brought a request another instance.
func TestTheNewestInstanceIsTheRequests(t *testing.T) {
	for name, before := range map[string]func(*db){
		"it was retried in the backup": func(d *db) { d.failed("a", true); d.retry("a") },
		"it had failed":                func(d *db) { d.failed("a", true) },
		"it was being built": func(d *db) {
			d.accept("a")
			d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(d.claim(time.Minute)[0])}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			before(d)
			_, err := d.asOwner().Recover(t.Context(), d.identity(), time.Hour, 0, 5001, []provision.Told{
				{RequestID: "a", State: provision.Building, InstanceID: "i-2", JobID: "j-2", EventID: 5001, At: time.Unix(1800000000, 0)}})
			d.must(err)
			if got := one[string](d, `select string_agg(instance_id, ' ') from instances where gone_at is null`); got != "i-2" {
				t.Errorf("its instance is %s", got)
			}
			if state := one[string](d, `select state from requests`); state == "pending" || state == "creating" {
				t.Errorf("it is %s, so it may be called for although its instance is known", state)
			}
		})
	}
}

// A copy has nothing under way, and no mark of its original.
func TestAdoptAsNew(t *testing.T) {
	d := open(t)
	d.accept("waits", "called", "builds")
	for _, c := range d.claim(time.Hour) {
		if c.RequestID == "builds" {
			d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(c)}))
		}
	}
	d.accept("later")
	before := d.identity()
	if _, _, err := d.AdoptAsNew(t.Context(), before); err == nil {
		t.Fatal("a worker's rights suffice")
	}
	id, ended, err := d.asOwner().AdoptAsNew(t.Context(), before)
	d.must(err)
	if ended != 4 || id.Epoch != 1 || id.Installation == before.Installation || id.Home != before.Here {
		t.Errorf("%d ended, %+v", ended, id)
	}
	if n := one[int](d, `select count(*) from requests where state = 'failed' and error_code = 'COPIED' and sealed_password is null`); n != 4 {
		t.Errorf("%d requests are told as copied, want 4", n)
	}
	if n := one[int](d, `select count(*) from marks m join requests r using (request_id) where m.mark = r.mark and (select count(*) from marks o where o.request_id = r.request_id) = 2`); n != 4 {
		t.Errorf("%d requests have a new mark beside the old one, want 4", n)
	}
	if claims := d.polls(); len(claims) != 0 {
		t.Errorf("it follows the original's instances: %+v", claims)
	}
	events, _, err := d.Unpublished(t.Context(), 100)
	d.must(err)
	for _, e := range events {
		if e.Error == nil || e.Error.Code != "COPIED" {
			t.Errorf("it tells of the original: %+v", e)
		}
	}
}
