package store_test

import (
	"context"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

// The queue takes an event for published when it has a later one of the request, so
// what is told of its orphans waits for whoever holds the request, too.
func TestEventsOfOrphansComeInTheOrderOfTheirIDs(t *testing.T) {
	d := open(t)
	itsMark := d.failedRequest("a")
	deleting.Installation = d.identity().Installation
	s := sighting("x", "a", itsMark)
	ctx := context.WithoutCancel(t.Context())
	audit := d.audit()
	var due []provision.Orphan
	steps := []struct {
		name string
		do   func() error
	}{
		{"seen", func() error { _, err := d.RecordSightings(ctx, audit, []provision.Sighting{s}); return err }},
		{"reported", func() error {
			_, err := d.FinishAudit(ctx, audit, []string{"x"}, provision.OrphanRules{Policy: provision.ReportOrphans}, nil)
			return err
		}},
		{"intended", func() (err error) {
			if len(due) != 1 {
				t.Fatalf("due: %+v", due)
			}
			_, err = d.IntendDeletion(ctx, due[0], deleting)
			return err
		}},
		{"deleted", func() error {
			return d.RecordDeletion(ctx, provision.Deletion{InstanceID: "x", Accepted: true, Delay: time.Hour})
		}},
	}
	for n, step := range steps {
		switch n {
		case 1: // ripe for a report
			_, err := d.sql.Exec(t.Context(), `update orphans set rounds = 2`)
			d.must(err)
		case 2:
			due = d.round(deleting, s)
		}
		tx, err := d.sql.Begin(t.Context())
		d.must(err)
		_, err = tx.Exec(t.Context(), `select 1 from requests for no key update`)
		d.must(err)
		done := make(chan error, 1)
		go func() { done <- step.do() }()
		d.until(step.name+" waits for the request", done, `select count(*) = 1 from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))`)
		_, err = tx.Exec(t.Context(), `insert into events (request_id, kind, state) values ('a', 'before-' || $1, 'failed')`, step.name)
		d.must(err)
		d.must(tx.Commit(t.Context()))
		d.must(<-done)
		if kind := one[string](d, `select kind from events order by id desc limit 1`); kind != provision.KindOrphan {
			t.Errorf("%s: the last event is %q", step.name, kind)
		}
	}
}
