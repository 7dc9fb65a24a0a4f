package store_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
)

// pruner is a Store with the rights of a pruner and no others.
func (d *db) pruner() *store.Store {
	d.t.Helper()
	s, err := store.Open(d.t.Context(), store.Config{URL: provision.NewSecret(as(d.t, d.url, "ddsworker_pruner"))})
	d.must(err)
	d.t.Cleanup(s.Close)
	return s
}

// prune prunes what ended more than a day ago.
func (d *db) prune() (sum provision.Pruned) {
	d.t.Helper()
	p := d.pruner()
	for !sum.Done {
		batch, err := p.Prune(d.t.Context(), 24*time.Hour, sum.After)
		d.must(err)
		sum.Requests, sum.Rejections = sum.Requests+batch.Requests, sum.Rejections+batch.Rejections
		sum.After, sum.Done = batch.After, batch.Done
	}
	return sum
}

func (d *db) exec(sql string, args ...any) {
	d.t.Helper()
	_, err := d.sql.Exec(d.t.Context(), sql, args...)
	d.must(err)
}

// lived lets requests live to their end, all of them long ago and published.
func (d *db) lived(ids ...string) {
	d.t.Helper()
	d.accept(ids...)
	var results []provision.CreateResult
	for _, c := range d.claim(time.Minute) {
		results = append(results, created(c))
	}
	d.must(d.RecordCreates(d.t.Context(), results))
	var polls []provision.PollResult
	for _, id := range ids {
		polls = append(polls, provision.PollResult{RequestID: id, InstanceID: "i-" + id, JobID: "j-" + id, JobStatus: "Completed", Progress: 100,
			Instance: &provision.Instance{ID: "i-" + id, Status: "normal"}, State: provision.Ready, Changed: true})
	}
	d.must(d.RecordPolls(d.t.Context(), polls))
	d.age(ids...)
}

// age makes it a year older, and its events published.
func (d *db) age(ids ...string) {
	d.t.Helper()
	d.exec(`update requests set finished_at = finished_at - interval '1 year' where request_id = any($1)`, ids)
	d.exec(`update events set at = at - interval '1 year' where request_id = any($1)`, ids)
	d.exec(`delete from outbox`)
}

// newest writes an event after all others, which is never pruned.
func (d *db) newest() {
	d.t.Helper()
	d.accept("newest")
}

func (d *db) rowsOf(id string) (n int) {
	d.t.Helper()
	for _, table := range []string{"requests", "attempts", "instances", "jobs", "events", "rejections", "orphans"} {
		n += one[int](d, `select count(*) from `+table+` where request_id = $1`, id)
	}
	return n
}

func TestWhatOutlivesPruning(t *testing.T) {
	d := open(t)
	d.lived("old")
	d.reject(provision.Rejection{RequestID: "old", Code: provision.CodeIDReused, ReceivedAt: time.Unix(9, 0), Reasons: provision.Violations{{Path: "name"}}, Sequence: 77})
	d.reject(provision.Rejection{RequestID: "bad", Code: provision.CodeRules, ReceivedAt: time.Unix(9, 0), Reasons: provision.Violations{{Path: "name"}}, Sequence: 78})
	d.exec(`insert into orphans (instance_id, project_id, name, request_id, status, why, state) values ('i-surplus', $1, 'n', 'old', 'normal', 'w', 'gone')`, project)
	d.exec(`insert into instances (instance_id, request_id, project_id, name, adopted, status, gone_at) values ('i-gone', 'old', $1, 'n', false, 'deleted', now())`, project)
	d.age("old", "bad")
	d.newest()
	mark := one[string](d, `select mark::text from requests where request_id = 'old'`)
	if sum := d.prune(); sum.Requests != 1 || sum.Rejections != 1 {
		t.Fatalf("pruned %+v, want one request and one rejection", sum)
	}
	for _, id := range []string{"old", "bad"} {
		if n := d.rowsOf(id); n != 0 {
			t.Errorf("%d rows of %s are left", n, id)
		}
	}
	if n := d.rowsOf("newest"); n == 0 {
		t.Error("a request that has not ended was pruned")
	}

	other := newRequest("old", 81)
	other.Fingerprint[5] = 1
	for sequence, c := range []struct {
		request provision.NewRequest
		want    provision.Found
	}{{newRequest("old", 80), provision.Duplicate}, {other, provision.Conflicting}, {newRequest("bad", 82), provision.Accepted}} {
		found, err := d.Accept(t.Context(), []provision.NewRequest{c.request}, provision.ClaimQuery{})
		d.must(err)
		if found[0].Found != c.want {
			t.Errorf("%d: found %v, want %v", sequence, found[0].Found, c.want)
		}
	}
	d.reject(provision.Rejection{RequestID: "old", Code: provision.CodeIDReused, ReceivedAt: time.Unix(9, 0), Reasons: provision.Violations{{Path: "name"}}, Sequence: 81})
	d.wantEvents("old", "refused:ready")

	known, err := d.KnownInstances(t.Context(), []string{"i-old", "i-gone", "i-nobody"})
	d.must(err)
	if len(known) != 2 || !known["i-old"] || !known["i-gone"] {
		t.Errorf("known instances: %v", known)
	}
	listed := []provision.Instance{{ID: "i-old", Name: "name-old", Tags: map[string]string{provision.TagRequest: mark}},
		{ID: "i-second", Name: "name-old", Tags: map[string]string{provision.TagRequest: mark}},
		{ID: "i-gone", Name: "name-old", Tags: map[string]string{provision.TagRequest: mark}}}
	facts, err := d.MarkFacts(t.Context(), listed, time.Now())
	d.must(err)
	if f := facts["i-old"]; !f.Recorded {
		t.Errorf("an instance that was handed out is taken for an orphan: %+v", f)
	}
	for _, id := range []string{"i-second", "i-gone"} {
		if f := facts[id]; f.Recorded || f.RequestID != "old" || f.State != "" {
			t.Errorf("%s of a pruned request: %+v", id, f)
		}
	}
	claim := provision.AuditClaim{ProjectID: project, Region: region, Round: 1}
	fresh, err := d.RecordSightings(t.Context(), claim, []provision.Sighting{{Instance: listed[0], Mark: mark}, {Instance: listed[1], Mark: mark, Unknown: true}, {Instance: listed[2], Mark: mark, Unknown: true}})
	d.must(err)
	if slices.Sort(fresh); !slices.Equal(fresh, []string{"i-gone", "i-second"}) {
		t.Errorf("sightings of %v were recorded", fresh)
	}
	if sum := d.prune(); sum.Requests != 0 {
		t.Errorf("a second pass pruned %+v", sum)
	}
}

func TestWhatIsNotPruned(t *testing.T) {
	d := open(t)
	all := []string{"young", "unpublished", "told-lately", "orphaned", "building", "retried", "old", "last"}
	d.lived(all...)
	for _, sql := range []string{
		`update requests set finished_at = now() - interval '23 hours' where request_id = 'young'`,
		`insert into outbox (events) select array[id] from events where request_id = 'unpublished' and kind = 'ready'`,
		`insert into events (request_id, kind, state) values ('told-lately', 'refused', 'ready')`,
		`insert into orphans (instance_id, project_id, name, request_id, status, why, state) values ('i-x', 'p', 'n', 'orphaned', 'normal', 'w', 'reported')`,
		`update requests set state = 'building', finished_at = null where request_id = 'building'`,
		`update requests set state = 'failed' where request_id = 'retried'`,
	} {
		d.exec(sql)
	}
	if ok, err := d.Retry(t.Context(), "retried", []byte("sealed"), "me"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	d.exec(`update events set at = now() - interval '1 year' where kind = 'retried'`)
	// The stream is compared with the newest event.
	d.exec(`insert into events (request_id, kind, state, at) values ('last', 'refused', 'ready', now() - interval '1 year')`)
	d.exec(`delete from outbox where not events && array(select id from events where request_id = 'unpublished' and kind = 'ready')`)
	if sum := d.prune(); sum.Requests != 1 {
		t.Errorf("pruned %+v, want one request", sum)
	}
	for _, id := range all {
		if gone := d.rowsOf(id) == 0; gone != (id == "old") {
			t.Errorf("%s: gone %v", id, gone)
		}
	}
	if one[string](d, `select request_id from events order by id desc limit 1`) != "last" {
		t.Error("the newest event is pruned, by which the database is compared with the stream")
	}
}

func TestOneAtATimePrunes(t *testing.T) {
	d := open(t)
	d.exec(`select pg_advisory_lock($1)`, 0x64647303)
	if p, err := d.pruner().Prune(t.Context(), time.Hour, 0); err != nil || !p.Busy || p.Done {
		t.Errorf("%+v, %v; want it busy", p, err)
	}
	if _, err := d.Prune(t.Context(), time.Hour, 0); err != nil {
		t.Errorf("busy, with the rights of a worker: %v", err)
	}
}

// More than one batch, and ids that are taken in again while they are pruned.
func TestAnIDIsNotTakenTwiceWhileItIsPruned(t *testing.T) {
	d := open(t)
	const rounds, each = 5, 500
	for round := range rounds {
		var batch []provision.NewRequest
		for n := range each {
			batch = append(batch, newRequest(fmt.Sprintf("r%d-%d", round, n), uint64(n)))
		}
		_, err := d.Accept(t.Context(), batch, provision.ClaimQuery{})
		d.must(err)
		d.exec(`update requests set state = 'failed', sealed_password = null, finished_at = now() - interval '1 year' where state = 'pending'`)
		d.exec(`update events set at = at - interval '1 year'`)
		d.exec(`delete from outbox`)
		var again sync.WaitGroup
		for range 3 {
			again.Go(func() {
				for range 10 {
					found, err := d.Accept(t.Context(), batch, provision.ClaimQuery{})
					if err != nil {
						t.Error(err)
						return
					}
					if n := len(batch) - count(found, provision.Acceptance{Found: provision.Duplicate}); n != 0 {
						t.Errorf("%d of %d ids were not known any more", n, len(batch))
						return
					}
				}
			})
		}
		p := d.pruner()
		for after, done := int64(0), false; !done; {
			b, err := p.Prune(t.Context(), time.Hour, after)
			d.must(err)
			after, done = b.After, b.Done
		}
		again.Wait()
	}
	if n := one[int](d, `select count(*) from requests`); n > 1 { // the newest event's
		t.Errorf("%d requests are left", n)
	}
	if n := one[int](d, `select count(*) from pruned_requests`); n < rounds*each-1 {
		t.Errorf("%d ids are known, want %d", n, rounds*each)
	}
}

func count[T comparable](list []T, what T) (n int) {
	for _, v := range list {
		if v == what {
			n++
		}
	}
	return n
}
