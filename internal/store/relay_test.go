package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
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
	d.must(d.MarkPublished(t.Context(), provision.Published{After: 0, Last: 77, IDs: []int64{1, 2}}))
	d.wantOutbox(77, 3, 4)
	// A relay that was paused notes late what its successor has found in the stream.
	d.must(d.MarkPublished(t.Context(), provision.Published{After: 0, Last: 50, IDs: []int64{1}}))
	d.wantOutbox(77, 3, 4)
	d.must(d.MarkPublished(t.Context(), provision.Published{After: 0, Last: 60, IDs: []int64{3}}))
	d.wantOutbox(77, 4)
	// The stream was made anew, and has nothing.
	d.must(d.MarkPublished(t.Context(), provision.Published{After: 77, Last: 0}))
	d.wantOutbox(0, 4)
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
	if n := one[int](d, `select count(*) from events full join outbox on id = event_id where id is not null and event_id is not null`); n != 6 {
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
	d.must(d.MarkPublished(t.Context(), provision.Published{After: 0, Last: 1, IDs: []int64{2}}))
	d.must(tx.Commit(t.Context()))
	d.wantOutbox(1, 1)
}
