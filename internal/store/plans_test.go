package store_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
)

// plan is what auto_explain tells of a statement.
type plan struct {
	Query string `json:"Query Text"`
	Plan  node
}

type node struct {
	Type     string `json:"Node Type"`
	Relation string `json:"Relation Name"`
	Index    string `json:"Index Name"`
	Hit      int    `json:"Shared Hit Blocks"`
	Read     int    `json:"Shared Read Blocks"`
	Plans    []node
}

func (n node) each(do func(node)) {
	do(n)
	for _, child := range n.Plans {
		child.each(do)
	}
}

// explained is a Store whose statements the server explains as they run, with the
// triggers and checks that they cause.
type explained struct {
	*store.Store
	mu    sync.Mutex
	plans []plan
	bad   []string
}

func (d *db) explained() *explained {
	d.t.Helper()
	u, err := url.Parse(d.url)
	d.must(err)
	name := strings.TrimPrefix(u.Path, "/")
	for _, setting := range []string{"session_preload_libraries = 'auto_explain'", "auto_explain.log_min_duration = 0", "auto_explain.log_analyze = on",
		"auto_explain.log_buffers = on", "auto_explain.log_timing = off", "auto_explain.log_format = 'json'", "auto_explain.log_level = 'notice'",
		"auto_explain.log_nested_statements = on"} {
		d.exec(`alter database ` + name + ` set ` + setting)
	}
	e := &explained{}
	e.Store, err = store.OpenNoticing(d.t.Context(), store.Config{URL: provision.NewSecret(asWorker(d.t, d.url))}, func(_ *pgconn.PgConn, n *pgconn.Notice) {
		_, text, found := strings.Cut(n.Message, "plan:\n")
		if !found {
			return
		}
		var p plan
		e.mu.Lock()
		defer e.mu.Unlock()
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			e.bad = append(e.bad, err.Error())
		}
		e.plans = append(e.plans, p)
	})
	d.must(err)
	d.t.Cleanup(e.Close)
	return e
}

// touched is what a call of the store touched.
type touched struct {
	pages   int
	indexes []string
	scanned []string // tables that were read from end to end
}

// of runs a call and returns what it touched.
func (e *explained) of(t *testing.T, call func() error) (sum touched) {
	t.Helper()
	e.mu.Lock()
	e.plans = nil
	e.mu.Unlock()
	if err := call(); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.plans) == 0 || len(e.bad) > 0 {
		t.Fatalf("%d plans were told, unreadable: %v", len(e.plans), e.bad)
	}
	for _, p := range e.plans {
		sum.pages += p.Plan.Hit + p.Plan.Read
		p.Plan.each(func(n node) {
			if n.Index != "" {
				sum.indexes = append(sum.indexes, n.Index)
			}
			if n.Type == "Seq Scan" && slices.Contains(histories, n.Relation) {
				sum.scanned = append(sum.scanned, n.Relation+" in "+strings.Join(strings.Fields(p.Query), " ")[:60])
			}
		})
	}
	return sum
}

// histories are the tables that grow for ever.
var histories = []string{"requests", "attempts", "instances", "jobs", "events", "marks", "rejections", "pruned_requests", "pruned_instances"}

// history writes requests that are ready, rejections and pruned ids, as the worker would
// have left them.
func (d *db) history(from, to int) {
	d.t.Helper()
	for _, sql := range []string{
		`insert into requests (request_id, state, project_id, region, name, mode, prepaid, spec, fingerprint, next_attempt_at, fence, attempts,
			first_attempt_at, settled_at, stream_sequence, received_at, accepted_at, finished_at)
		select 'h-' || n, 'ready', $3, 'aaa', 'h-' || n, 'Single', false, '{}', sha256(n::text::bytea), now() - interval '1 year', 1, 1,
			now() - interval '1 year', now() - interval '1 year', n, now() - interval '1 year', now() - interval '1 year', now() - interval '1 year' from generate_series($1::int, $2) n`,
		`insert into marks (mark, request_id) select mark, request_id from requests where stream_sequence between $1 and $2 and project_id = $3 and request_id like 'h-%'`,
		`insert into attempts (request_id, number, fence, worker, outcome, finished_at, instance_id, job_id)
		select 'h-' || n, 1, 1, $3, 'created', now(), 'hi-' || n, 'hj-' || n from generate_series($1::int, $2) n`,
		`insert into instances (instance_id, request_id, project_id, name, adopted, status)
		select 'hi-' || n, 'h-' || n, $3, 'h-' || n, false, 'normal' from generate_series($1::int, $2) n`,
		`insert into jobs (job_id, request_id, instance_id, status) select 'hj-' || n, 'h-' || n, 'hi-' || n, left('Completed' || $3, 9) from generate_series($1::int, $2) n`,
		`insert into events (request_id, kind, state) select 'h-' || n, kind, left(kind || $3, length(kind))
		from generate_series($1::int, $2) n, unnest(array['accepted', 'creating', 'building', 'ready']) kind`,
		`insert into rejections (request_id, project_id, code, reasons, size, stream_sequence, received_at)
		select 'hx-' || n, $3, 'RULES', '[]', 9, n, now() from generate_series($1::int, $2) n where n % 10 = 0`,
		`insert into pruned_requests (request_id, fingerprint, state, finished_at)
		select 'hp-' || n || left($3, 0), sha256(n::text::bytea), 'ready', now() from generate_series($1::int, $2) n`,
		`insert into pruned_instances (instance_id, request_id) select 'hpi-' || n || left($3, 0), 'hp-' || n from generate_series($1::int, $2) n`,
	} {
		d.exec(sql, from, to, project)
	}
	d.exec(`delete from outbox`)
}

// What workers do all the time touches only what lives: with 25 times the history
// no statement reads a table from end to end, and each touches about as many pages.
func TestWhatWorkersDoTouchesOnlyWhatLives(t *testing.T) {
	const small, large = 2000, 50_000
	d := open(t)
	d.must(d.NoteMarksSeen(t.Context(), project))
	d.history(1, small)
	d.exec(`vacuum analyze`)
	e := d.explained()
	for range 7 { // until plans are the ones that stay
		d.hotPath(e)
	}
	before := d.hotPath(e)
	d.history(small+1, large)
	d.exec(`vacuum analyze`)
	for range 7 {
		d.hotPath(e)
	}
	after := d.hotPath(e)
	for name, was := range before {
		is := after[name]
		t.Logf("%-20s %5d pages, with a long history %5d: %s", name, was.pages, is.pages, strings.Join(slices.Compact(slices.Sorted(slices.Values(is.indexes))), " "))
		if len(is.scanned) > 0 {
			t.Errorf("%s reads from end to end: %v", name, is.scanned)
		}
		// An index is a level or two deeper.
		if is.pages > 2*was.pages+50 {
			t.Errorf("%s touches %d pages with a long history, %d with a short one", name, is.pages, was.pages)
		}
	}
	for name, index := range map[string]string{"claim creates": "requests_to_call", "claim looks": "requests_to_look", "claim polls": "instances_to_look", "unpublished": "outbox_pkey", "waited": "outbox_pkey"} {
		if !slices.Contains(after[name].indexes, index) {
			t.Errorf("%s does not use %s but %v", name, index, after[name].indexes)
		}
	}
}

// A database that was analyzed while it was all but empty, and plans from then, meet a
// burst: until it is analyzed again nothing is read from end to end either.
func TestABurstMeetsThePlansOfAnEmptyDatabase(t *testing.T) {
	d := open(t)
	d.must(d.NoteMarksSeen(t.Context(), project))
	e := d.explained()
	d.hotPath(e)
	d.exec(`delete from requests`)
	for _, table := range []string{"attempts", "instances", "jobs", "events", "marks", "outbox", "orphans", "rejections"} {
		d.exec(`delete from ` + table)
	}
	d.exec(`vacuum analyze`)
	for range 7 {
		d.hotPath(e)
	}
	before := d.hotPath(e)
	d.history(1000, 20_000)
	after := d.hotPath(e)
	for name, was := range before {
		is := after[name]
		t.Logf("%-20s %5d pages, after a burst %5d: %s", name, was.pages, is.pages, strings.Join(slices.Compact(slices.Sorted(slices.Values(is.indexes))), " "))
		if len(is.scanned) > 0 {
			t.Errorf("%s reads from end to end: %v", name, is.scanned)
		}
		// Deeper indexes, and what nobody has vacuumed yet; the whole of one is 2,200.
		// The creator's batches are small, and one may read the index of attempts once.
		if name != "record creates" && is.pages > 3*was.pages+200 {
			t.Errorf("%s touches %d pages after a burst, %d before", name, is.pages, was.pages)
		}
	}
}

// hotPath lets some requests live, and tells what each step touched.
func (d *db) hotPath(e *explained) map[string]touched {
	d.t.Helper()
	t, ctx, out := d.t, d.t.Context(), map[string]touched{}
	step := func(name string, call func() error) { out[name] = e.of(t, call) }
	var batch []provision.NewRequest
	for range 40 {
		d.n++
		batch = append(batch, newRequest(fmt.Sprintf("live-%d", d.n), d.n))
	}
	known := append(slices.Clone(batch[:20]), newRequest("h-77", 1), newRequest("hp-77", 1))
	step("accept", func() error { _, err := e.Accept(ctx, batch, provision.ClaimQuery{}); return err })
	step("accept again", func() error { _, err := e.Accept(ctx, known, provision.ClaimQuery{}); return err })
	step("reject", func() error {
		d.n++
		_, err := e.Reject(ctx, []provision.Rejection{{RequestID: "h-78", Code: "ID_REUSED", Reasons: provision.Violations{{Path: "x"}}, Sequence: d.n, ReceivedAt: time.Unix(int64(d.n), 0)}})
		return err
	})
	step("waiting", func() error { _, err := e.Waiting(ctx, 1000); return err })
	step("live requests", func() error { _, err := e.LiveRequests(ctx); return err })
	query := provision.ClaimQuery{Served: served, Worker: "w1", Limit: 30, Lease: time.Minute, Settle: time.Minute}
	var creates []provision.CreateClaim
	step("claim creates", func() (err error) { creates, err = e.ClaimCreates(ctx, query); return err })
	if len(creates) != 30 {
		t.Fatalf("%d were claimed, want 30", len(creates))
	}
	var results []provision.CreateResult
	for n, c := range creates {
		r := created(c)
		if n < 10 {
			r = unanswered(c)
		}
		results = append(results, r)
	}
	step("record creates", func() error { return e.RecordCreates(ctx, results) })
	var looks []provision.LookClaim
	step("claim looks", func() (err error) { looks, err = e.ClaimLooks(ctx, query); return err })
	if len(looks) != 10 {
		t.Fatalf("%d looks were claimed, want 10", len(looks))
	}
	var found []provision.LookResult
	for _, l := range looks {
		found = append(found, adopted(l))
	}
	step("known instances", func() error { _, err := e.KnownInstances(ctx, []string{"hi-5", "hpi-5", "nobody"}); return err })
	step("record looks", func() error { return e.RecordLooks(ctx, found) })
	var polls []provision.PollClaim
	query.Limit = 100
	step("claim polls", func() (err error) { polls, err = e.ClaimPolls(ctx, query); return err })
	var seen []provision.PollResult
	for _, p := range polls {
		seen = append(seen, finished(p))
	}
	if len(seen) != 30 {
		t.Fatalf("%d polls were claimed, want 30", len(seen))
	}
	step("record polls", func() error { return e.RecordPolls(ctx, seen) })
	listed := []provision.Instance{{ID: "hi-9"}, {ID: "hpi-9"}, {ID: "none", Tags: map[string]string{provision.TagRequest: "11111111-1111-4111-8111-111111111111"}}}
	step("audit", func() error { _, err := e.MarkFacts(ctx, listed, time.Now()); return err })
	step("sightings", func() error {
		_, err := e.RecordSightings(ctx, provision.AuditClaim{ProjectID: project, Region: region, Round: 1}, []provision.Sighting{{Instance: listed[0]}, {Instance: listed[1]}})
		return err
	})
	var events []provision.Event
	published := provision.Published{}
	step("waited", func() error { _, err := e.Waited(ctx); return err })
	step("unpublished", func() (err error) { events, published.After, err = e.Unpublished(ctx, 1000); return err })
	for _, event := range events {
		published.Batches, published.Last = append(published.Batches, event.Batch), uint64(event.ID)
	}
	step("mark published", func() error { return e.MarkPublished(ctx, published) })
	step("identity", func() error { _, err := e.NewestEvent(ctx); return err })
	step("retry", func() error { _, err := e.Retryable(ctx, "h-99"); return err })
	// What still waits ends, so that each round begins alike.
	d.exec(`update requests set state = 'cancelled', finished_at = now(), sealed_password = null where state in ('pending', 'creating')`)
	return out
}

// unanswered is the outcome of a call whose answer was lost.
func unanswered(c provision.CreateClaim) provision.CreateResult {
	r := created(c)
	r.Outcome, r.Created, r.Next = provision.OutcomeUnknown, provision.Created{}, provision.Next{State: provision.Creating}
	r.Failure = &provision.Failure{Code: "X", Message: "m", Class: provision.ClassLost}
	return r
}

// adopted is a look that found what such a call made.
func adopted(l provision.LookClaim) provision.LookResult {
	return provision.LookResult{RequestID: l.RequestID, Fence: l.Fence, Kind: "adopted", Next: provision.Next{State: provision.Building},
		Adopt: &provision.Instance{ID: "a-" + l.RequestID, Status: "creating"}}
}

// finished is a poll that saw the end of a build.
func finished(p provision.PollClaim) provision.PollResult {
	return provision.PollResult{RequestID: p.RequestID, InstanceID: p.InstanceID, JobID: "j-" + p.RequestID, JobStatus: "Completed", Progress: 100,
		Instance: &provision.Instance{ID: p.InstanceID, Status: "normal"}, State: provision.Ready, Changed: true}
}
