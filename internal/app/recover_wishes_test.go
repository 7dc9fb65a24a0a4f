package app_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
)

// What people ask for between the restore and the recovery draws ids that the stream has
// for other events. It is published all the same, once, and behind those of its request.
func TestWhatWasAskedForBeforeTheRecoveryIsTold(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	w := s.start(map[string]string{"OS_PASSWORD": "wrong"})
	s.publish(named(2, "request-")...)
	s.wantState(provision.Pending, 2)
	w.stop()
	backup := s.backup()
	w = s.start(map[string]string{"WORKER_NAME": "second"})
	s.wantState(provision.Ready, 2)
	s.eventually("all events published", func() bool { return s.count(`select count(*) from outbox`) == 0 })
	w.stop()

	s.use(backup)
	_, err := s.db.Exec(t.Context(), `update installation set home = null, timeline = null`) // as where it was restored in its place
	s.must(err)
	_, err = s.cancel("request-0")
	s.must(err)
	_, err = s.db.Exec(t.Context(), `update requests set cancel_requested_at = now() where name = 'request-1'`)
	s.must(err)
	s.recovers(nil)
	s.start(map[string]string{"WORKER_NAME": "third"})
	s.wantState(provision.Ready, 1)
	s.eventually("all events published", func() bool { return s.count(`select count(*) from outbox`) == 0 })

	told, newest := map[int64]provision.Event{}, map[string]int64{}
	s.must(queue.EachEvent(t.Context(), s.js, func(e provision.Event) error {
		if e.ID <= newest[e.RequestID] {
			t.Errorf("event %d of %s comes behind %d", e.ID, e.RequestID, newest[e.RequestID])
		}
		if _, twice := told[e.ID]; twice {
			t.Errorf("two events have id %d", e.ID)
		}
		told[e.ID], newest[e.RequestID] = e, e.ID
		return nil
	}))
	rows, err := s.db.Query(t.Context(), `select id, request_id, kind, at from events`)
	s.must(err)
	var e provision.Event
	_, err = pgx.ForEachRow(rows, []any{&e.ID, &e.RequestID, &e.Kind, &e.At}, func() error {
		if is := told[e.ID]; is.RequestID != e.RequestID || is.Kind != e.Kind || !is.At.Equal(e.At) {
			t.Errorf("event %d (%s of %s) is not in the stream, which has %q of %s", e.ID, e.Kind, e.RequestID, is.Kind, is.RequestID)
		}
		return nil
	})
	s.must(err)
	if n := s.count(`select count(*) from events where kind in ('cancelling', 'cancelled')`); n != 3 {
		t.Errorf("%d events tell what was asked for, want 3", n)
	}
}
