package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

// until waits for a query to be true.
func (d *db) until(what string, done <-chan error, query string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !one[bool](d, query) {
		select {
		case err := <-done:
			d.t.Fatalf("it ended before %s: %v", what, err)
		case <-ctx.Done():
			d.t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// The relay publishes what it sees in the order of the ids, so a later event of a
// request must never be seen before an earlier one.
func TestEventsOfANewIDAreSeenInTheOrderOfTheirIDs(t *testing.T) {
	accept := func(d *db, sequence uint64) error {
		_, err := d.Accept(context.WithoutCancel(d.t.Context()), []provision.NewRequest{newRequest("x", sequence)}, provision.ClaimQuery{})
		return err
	}
	refuse := func(d *db, sequence uint64) error {
		_, err := d.Reject(context.WithoutCancel(d.t.Context()), []provision.Rejection{{RequestID: "x", Code: provision.CodeRules, Sequence: sequence,
			ReceivedAt: time.Unix(1700000000, 0), Reasons: provision.Violations{{Path: "name"}}}})
		return err
	}
	for name, c := range map[string]struct {
		first, second func(*db, uint64) error
		kinds         []string
	}{
		"two refusals":        {refuse, refuse, []string{"rejected", "rejected"}},
		"accepted, refused":   {accept, refuse, []string{"accepted", "refused"}},
		"refused, accepted":   {refuse, accept, []string{"rejected", "accepted"}},
		"accepted twice once": {accept, accept, []string{"accepted"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			_, err := d.sql.Exec(t.Context(), `
				create function pause() returns trigger language plpgsql as 'begin perform pg_advisory_xact_lock(42); return new; end';
				create trigger pause after insert on events for each row when (new.id = 1) execute function pause();
				select pg_advisory_lock(42)`)
			d.must(err)
			first, second := make(chan error, 1), make(chan error, 1)
			go func() { first <- c.first(d, 1) }()
			waiting := `select count(*) = 1 from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))`
			d.until("the first has its event's id", first, waiting)
			go func() { second <- c.second(d, 2) }()
			d.until("the second waits for the first", second, `select count(*) = 1 from pg_locks w
				where not granted and not pg_backend_pid() = any(pg_blocking_pids(pid)) and cardinality(pg_blocking_pids(pid)) > 0
				and exists (select 1 from pg_stat_activity a where a.pid = w.pid and a.datname = current_database())`)
			_, err = d.sql.Exec(t.Context(), `select pg_advisory_unlock(42)`)
			d.must(err)
			d.must(<-first)
			d.must(<-second)
			events, _, err := d.Unpublished(t.Context(), 10)
			d.must(err)
			var kinds []string
			for _, e := range events {
				kinds = append(kinds, e.Kind)
			}
			if !slices.Equal(kinds, c.kinds) {
				t.Errorf("events %v, want %v", kinds, c.kinds)
			}
		})
	}
}

func TestALatePollChangesNothing(t *testing.T) {
	for name, changed := range map[string]bool{"with news": true, "without news": false} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			d.accept("a")
			d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(d.claim(time.Minute)[0])}))
			d.polls()
			// Another worker's poll ended the request, and its commit is on the way.
			tx, err := d.sql.Begin(t.Context())
			d.must(err)
			_, err = tx.Exec(t.Context(), `update requests set state = 'ready', finished_at = now()`)
			d.must(err)
			_, err = tx.Exec(t.Context(), `update instances set status = 'normal', next_look_at = null`)
			d.must(err)
			late := make(chan error, 1)
			go func() {
				late <- d.RecordPolls(context.WithoutCancel(t.Context()), []provision.PollResult{{RequestID: "a", InstanceID: "i-a", JobID: "j-a",
					JobStatus: "Running", Progress: 7, State: provision.Building, Changed: changed,
					Instance: &provision.Instance{ID: "i-a", Status: "creating"}}})
			}()
			d.until("the late poll waits", late, `select count(*) = 1 from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))`)
			d.must(tx.Commit(t.Context()))
			d.must(<-late)
			d.wantState("a", provision.Ready)
			if got := one[string](d, `select concat_ws(' ', i.status, i.next_look_at is null, progress) from instances i, jobs`); got != "normal t 0" {
				t.Errorf("the instance is %s", got)
			}
			d.wantEvents("a", "accepted:pending creating:creating building:building")
		})
	}
}

func TestInstancesOfEndedRequestsAreNotFollowed(t *testing.T) {
	d := open(t)
	d.accept("a", "b")
	for _, c := range d.claim(time.Minute) {
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(c)}))
	}
	_, err := d.sql.Exec(t.Context(), `update requests set state = 'cancelled', finished_at = now() where request_id = 'a'`)
	d.must(err)
	if p := d.polls(); len(p) != 1 || p[0].RequestID != "b" {
		t.Errorf("polls %+v", p)
	}
	if got := one[string](d, `select string_agg(instance_id, ' ') from instances where next_look_at is not null`); got != "i-b" {
		t.Errorf("due some time: %s", got)
	}
}

func TestAnInstanceWithoutAStatusIsKept(t *testing.T) {
	d := open(t)
	d.accept("a", "b")
	claims := d.claim(0)
	i := slices.IndexFunc(claims, func(c provision.CreateClaim) bool { return c.RequestID == "a" })
	silent := created(claims[i])
	silent.Created.Status = ""
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{silent}))
	l := d.looks(time.Minute)[0]
	d.must(d.RecordLooks(t.Context(), []provision.LookResult{{RequestID: l.RequestID, Fence: l.Fence, Kind: "adopted",
		Next: provision.Next{State: provision.Building}, Adopt: &provision.Instance{ID: "i-b"}, Orphans: []provision.Instance{{ID: "i-c"}}}}))
	got := one[string](d, `select string_agg(instance_id || ' ' || status, ', ' order by instance_id)
		from (select instance_id, status from instances union all select instance_id, status from orphans) x`)
	if got != "i-a creating, i-b unknown, i-c unknown" {
		t.Errorf("kept: %s", got)
	}
}

// One row of a batch cannot keep the others from being written for ever.
func TestTwoRowsOfOneThingAreUnstorable(t *testing.T) {
	d := open(t)
	d.accept("a")
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(d.claim(time.Minute)[0])}))
	poll := provision.PollResult{RequestID: "a", InstanceID: "i-a", JobID: "j-a", JobStatus: "Running", State: provision.Building, Changed: true}
	if err := d.RecordPolls(t.Context(), []provision.PollResult{poll, poll}); !errors.Is(err, provision.ErrUnstorable) {
		t.Errorf("got %v, want ErrUnstorable", err)
	}
}

// What a schema lacks is no row's fault: requests are not refused for it.
func TestAMissingColumnIsNoRowsFault(t *testing.T) {
	d := open(t)
	_, err := d.sql.Exec(t.Context(), `alter table requests drop column traceparent`)
	d.must(err)
	if _, err := d.Accept(t.Context(), []provision.NewRequest{newRequest("a", 1)}, provision.ClaimQuery{}); err == nil || errors.Is(err, provision.ErrUnstorable) {
		t.Errorf("got %v, want an error that is tried again", err)
	}
}
