package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
)

func TestOneRelayLeads(t *testing.T) {
	d := open(t)
	release, ok, err := d.Lead(t.Context())
	d.must(err)
	if !ok {
		t.Fatal("nobody leads, and yet the lead is taken")
	}
	if _, ok, _ := d.Lead(t.Context()); ok {
		t.Fatal("two lead")
	}
	release()
	if release, ok, err = d.Lead(t.Context()); !ok || err != nil {
		t.Fatal("the lead was not given back", err)
	}
	release()
}

// A lock that is not let go with a statement is with its connection.
func TestALeadThatIsNotGivenBackGoesWithItsConnection(t *testing.T) {
	d := open(t)
	d.exec(`create schema sharing;
		create function sharing.pg_advisory_unlock(bigint) returns boolean language sql as 'select false'`)
	d.exec(`grant usage on schema sharing to ddsworker_worker`)
	u, err := url.Parse(asWorker(t, d.url))
	d.must(err)
	q := u.Query()
	q.Set("search_path", "sharing,pg_catalog,public")
	u.RawQuery = q.Encode()
	s, err := store.Open(t.Context(), store.Config{URL: provision.NewSecret(u.String())})
	d.must(err)
	t.Cleanup(s.Close)
	release, ok, err := s.Lead(t.Context())
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	release()
	d.until("the lock to go", nil, `select not exists (select from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database()))`)
}

// The session of a worker whose machine is gone holds the lead until the server knows,
// so it is to find out soon; and what waits meanwhile is told by all others.
func TestALeadThatNobodyUses(t *testing.T) {
	d := open(t)
	for name, want := range map[string]string{"tcp_keepalives_idle": "4", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "2", "tcp_user_timeout": "8000"} {
		if got, err := d.Setting(t.Context(), name); err != nil || got != want {
			t.Errorf("%s of the server is %s, want %s: %v", name, got, want, err)
		}
	}
	d.accept("a")
	d.exec(`update events set at = now() - interval '1 minute'`)
	gone, ok, err := d.Lead(t.Context())
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	defer gone()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	health := provision.NewHealth(slog.New(slog.DiscardHandler))
	relay := &provision.Relay{Store: d, Health: health}
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { relay.Run(ctx, ctx) })
	defer cancel()
	for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if p := health.Problems(); len(p) == 1 && p[0].Part == "relay" && strings.Contains(p[0].Error, "has waited for 1m") {
			return
		}
	}
	t.Errorf("told: %v", health.Problems())
}

// wantOutbox compares what is unpublished, and the place it belongs behind.
func (d *db) wantOutbox(after uint64, ids ...int64) {
	d.t.Helper()
	events, at, err := d.Unpublished(d.t.Context(), 100)
	d.must(err)
	var got []int64
	for _, e := range events {
		got = append(got, e.ID)
	}
	if fmt.Sprint(got) != fmt.Sprint(ids) || len(ids) > 0 && at != after {
		d.t.Errorf("unpublished: %v behind %d, want %v behind %d", got, at, ids, after)
	}
}

func TestTheOutbox(t *testing.T) {
	d := open(t)
	d.accept("a", "b")
	d.claim(time.Minute)
	d.wantOutbox(0, 1, 2, 3, 4)
	if n := one[int](d, `select count(*) from outbox`); n != 2 {
		t.Errorf("two statements made %d batches", n)
	}
	d.must(d.MarkPublished(t.Context(), provision.Published{After: 0, Last: 77, Batches: []int64{1}}))
	d.wantOutbox(77, 3, 4)
	// A relay that was paused notes late what its successor has found in the stream.
	d.must(d.MarkPublished(t.Context(), provision.Published{After: 0, Last: 50, Batches: []int64{1}}))
	d.wantOutbox(77, 3, 4)
	d.must(d.MarkPublished(t.Context(), provision.Published{After: 0, Last: 60, IDs: []int64{3}}))
	d.wantOutbox(77, 4)
	// The stream was made anew, and has nothing.
	d.must(d.MarkPublished(t.Context(), provision.Published{After: 77, Last: 0}))
	d.wantOutbox(0, 4)
	d.must(d.MarkPublished(t.Context(), provision.Published{After: 0, Last: 1, IDs: []int64{2, 4}}))
	if n := one[int](d, `select count(*) from outbox`); n != 0 {
		t.Errorf("%d batches are left of nothing", n)
	}
}

// Two relays that note parts of a batch at the same time leave out both.
func TestPartsOfABatchAreNotedTogether(t *testing.T) {
	d := open(t)
	d.accept("a", "b", "c", "d")
	tx, err := d.sql.Begin(t.Context())
	d.must(err)
	_, err = tx.Exec(t.Context(), `update outbox set events = '{1,3,4}'`)
	d.must(err)
	noted := make(chan error, 1)
	go func() {
		noted <- d.MarkPublished(context.WithoutCancel(t.Context()), provision.Published{After: 0, Last: 7, IDs: []int64{1, 4, 900}})
	}()
	d.until("the second waits", noted, `select count(*) = 1 from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))`)
	d.must(tx.Commit(t.Context()))
	d.must(<-noted)
	d.wantOutbox(7, 3)
}

// A statement that writes many events leaves batches that a relay has room for, and
// events of a request in the order of their ids.
func TestALargeStatementIsSplit(t *testing.T) {
	d := open(t)
	d.exec(`insert into events (request_id, kind, state) select 'r' || n % 7, 'k', 'failed' from generate_series(1, 450) n`)
	d.exec(`insert into events (request_id, kind, state) select 'r', 'k', 'failed' where false`)
	if got := one[string](d, `select string_agg(concat_ws('-', events[1], events[cardinality(events)]), ' ' order by batch) from outbox`); got != "1-200 201-400 401-450" {
		t.Errorf("batches %s", got)
	}
	for limit, want := range map[int]int{1: 200, 399: 200, 400: 400, 449: 400, 1000: 450} {
		events, _, err := d.Unpublished(t.Context(), limit)
		d.must(err)
		for n, e := range events {
			if e.ID != int64(n+1) {
				t.Fatalf("event %d is at place %d", e.ID, n)
			}
		}
		if len(events) != want {
			t.Errorf("limit %d: %d events, want %d", limit, len(events), want)
		}
	}
}

// The ids of a batch lie between those of others, so what comes first in it does not
// tell the order of a request's events.
func TestEventsComeInTheOrderOfTheirBatches(t *testing.T) {
	d := open(t)
	insert := `insert into events (id, request_id, kind, state) overriding system value values `
	d.exec(insert + `(5, 'x', 'first', 'failed')`)
	d.exec(insert + `(3, 'y', 'other', 'failed'), (6, 'x', 'second', 'failed')`)
	d.wantOutbox(0, 5, 3, 6)
}

// Whoever writes an event, and beside whatever else, it is to be published.
func TestEveryEventComesToTheOutbox(t *testing.T) {
	d := open(t)
	_, err := d.sql.Exec(t.Context(), `insert into events (request_id, kind, state) values ('x', 'by hand', 'failed')`)
	d.must(err)
	_, err = d.sql.Exec(t.Context(), `
		with one as (insert into events (request_id, kind, state) values ('y', 'one', 'failed')),
			two as (insert into events (request_id, kind, state) select 'z', 'two', 'failed' from generate_series(1, 3))
		insert into events (request_id, kind, state) values ('x', 'three', 'failed')`)
	d.must(err)
	if n := one[int](d, `select count(*) from events full join (select unnest(events) as event_id from outbox) o on id = event_id where id is not null and event_id is not null`); n != 6 {
		t.Errorf("%d of 6 events are to be published", n)
	}
}

// An event whose commit came late is not skipped for the ids behind it that were
// published meanwhile.
func TestALateCommitIsPublished(t *testing.T) {
	d := open(t)
	tx, err := d.sql.Begin(t.Context())
	d.must(err)
	_, err = tx.Exec(t.Context(), `insert into events (request_id, kind, state) values ('late', 'late', 'failed')`)
	d.must(err)
	other, err := pgx.Connect(t.Context(), d.url)
	d.must(err)
	defer func() { _ = other.Close(context.Background()) }()
	_, err = other.Exec(t.Context(), `insert into events (request_id, kind, state) values ('early', 'early', 'failed')`)
	d.must(err)
	d.wantOutbox(0, 2)
	d.must(d.MarkPublished(t.Context(), provision.Published{After: 0, Last: 1, Batches: []int64{2}}))
	d.must(tx.Commit(t.Context()))
	d.wantOutbox(1, 1)
}

// What waits is published after a migration, and after one back, in the same order.
func TestWhatWaitsIsMigrated(t *testing.T) {
	d := open(t)
	d.accept("a", "b")
	d.claim(time.Minute)
	p := d.migrator()
	_, err := p.DownTo(t.Context(), 11)
	d.must(err)
	d.exec(`insert into events (request_id, kind, state) values ('a', 'written by the version before', 'creating')`)
	if got := one[string](d, `select string_agg(event_id::text, ' ' order by event_id) from outbox`); got != "1 2 3 4 5" {
		t.Errorf("in the outbox of the version before: %s", got)
	}
	_, err = p.Up(t.Context())
	d.must(err)
	d.exec(`insert into events (request_id, kind, state) values ('a', 'written by this one', 'creating')`)
	d.wantOutbox(0, 1, 2, 3, 4, 5, 6)
}
