package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
)

func (d *db) identity() provision.Identity {
	d.t.Helper()
	id, err := d.Identity(d.t.Context(), provision.Event{})
	d.must(err)
	return id
}

// The first worker notes where the database lives; a copy shows that it lives
// elsewhere, and the original that it does not.
func TestWhereADatabaseLives(t *testing.T) {
	d := open(t)
	first := d.identity()
	if first.Home != "" || first.Timeline != "" || first.Here == "" || first.TimelineHere == "" || first.Epoch != 1 || !first.KnowsLast {
		t.Fatalf("before the first start: %+v", first)
	}
	d.must(d.Settle(t.Context(), first))
	if err := d.Settle(t.Context(), first); err == nil {
		t.Error("a second first start passes, though the row had changed meanwhile")
	}
	again := d.identity()
	if again.Home != first.Here || again.Timeline != first.TimelineHere || again.Here != first.Here || !again.Same(first) {
		t.Errorf("after it: %+v", again)
	}
	d.must(d.Settle(t.Context(), again))
	d.accept("a") // the pool goes on
	copied := d.copyOf()
	id := copied.identity()
	if id.Home != again.Home || id.Here == again.Here {
		t.Errorf("a copy: %+v, the original: %+v", id, d.identity())
	}
}

// A replica may lag, so what it knows says nothing about what the database lost: neither
// is it judged, nor may the pool reach it.
func TestAReplicaIsNotJudged(t *testing.T) {
	d := open(t)
	id := d.identity()
	d.exec(`create schema lagging;
		create function lagging.pg_is_in_recovery() returns boolean language sql as 'select true'`)
	d.exec(`grant usage on schema lagging to ddsworker_worker`)
	d.exec(fmt.Sprintf(`alter database %s set search_path = lagging, pg_catalog, public`, one[string](d, `select current_database()`)))
	if _, err := d.Identity(t.Context(), provision.Event{ID: 77}); !errors.Is(err, store.ErrReplica) {
		t.Errorf("it says %v", err)
	}
	if err := d.Settle(t.Context(), id); !errors.Is(err, store.ErrReplica) {
		t.Errorf("the pool says %v", err)
	}
	select {
	case <-d.Moved():
	default:
		t.Error("nobody is told")
	}
	d.exec(fmt.Sprintf(`alter database %s reset search_path`, one[string](d, `select current_database()`)))
	d.must(d.Settle(t.Context(), d.identity()))
	d.must(d.Ping(t.Context()))
}

// A database knows the stream's last event by more than its id, which another event may
// have that came after the database was restored; and also what is pruned by now.
func TestWhetherTheLastEventIsKnown(t *testing.T) {
	d := open(t)
	d.accept("a", "b")
	events, _, err := d.Unpublished(t.Context(), 100)
	d.must(err)
	a, b := events[0], events[1]
	d.exec(`insert into pruned_requests (request_id, fingerprint, state, finished_at) values ('p', '', 'ready', now())`)
	d.exec(`delete from outbox`)
	d.exec(`update relay set sequence = 7`)
	d.exec(`delete from events where id = $1`, a.ID)
	for name, tt := range map[string]struct {
		is    provision.Event
		known bool
	}{
		"none":                       {provision.Event{}, true},
		"its own":                    {b, true},
		"another request's":          {provision.Event{ID: b.ID, RequestID: "a", At: b.At}, false},
		"of another time":            {provision.Event{ID: b.ID, RequestID: "b", At: b.At.Add(time.Second)}, false},
		"one that is not there":      {a, false},
		"one later than all":         {provision.Event{ID: b.ID + 1, RequestID: "b", At: b.At}, false},
		"of a pruned request":        {provision.Event{ID: a.ID, RequestID: "p", At: a.At}, true},
		"of a pruned request, later": {provision.Event{ID: b.ID + 1, RequestID: "p", At: a.At}, false},
		"of a pruned rejection":      {provision.Event{ID: a.ID, RequestID: "x", At: a.At, State: provision.Rejected, Sequence: 7}, true},
		"of one after the backup":    {provision.Event{ID: a.ID, RequestID: "x", At: a.At, State: provision.Rejected, Sequence: 8}, false},
	} {
		if id, err := d.Identity(t.Context(), tt.is); err != nil || id.KnowsLast != tt.known {
			t.Errorf("%s: known %v, %v", name, id.KnowsLast, err)
		}
	}
	knows, err := d.KnowsEvents(t.Context(), []provision.Event{a, b})
	d.must(err)
	if len(knows) != 2 || knows[0] || !knows[1] {
		t.Errorf("known of two: %v", knows)
	}
	_, err = d.asOwner().Recover(t.Context(), d.identity(), time.Hour, 0, b.ID+1, nil)
	d.must(err)
	if id, err := d.Identity(t.Context(), provision.Event{ID: b.ID + 1, RequestID: "b", At: b.At}); err != nil || !id.KnowsLast {
		t.Errorf("what a recovery took over is known %v, %v", id.KnowsLast, err)
	}
}

// A pool that is led elsewhere refuses to work until that was judged.
func TestAPoolIsNotLedElsewhere(t *testing.T) {
	d := open(t)
	id := d.identity()
	id.TimelineHere = "00000009" // what was judged is not what is there
	if err := d.Settle(t.Context(), id); !errors.Is(err, store.ErrElsewhere) {
		t.Fatalf("got %v", err)
	}
	select {
	case <-d.Moved():
	default:
		t.Error("nobody is told")
	}
	if err := d.Ping(t.Context()); !errors.Is(err, store.ErrElsewhere) {
		t.Errorf("the pool says %v", err)
	}
	d.must(d.Settle(t.Context(), d.identity()))
	d.must(d.Ping(t.Context()))
}
