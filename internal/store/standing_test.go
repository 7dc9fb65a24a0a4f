package store_test

import (
	"errors"
	"testing"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
)

func (d *db) identity() provision.Identity {
	d.t.Helper()
	id, err := d.Identity(d.t.Context())
	d.must(err)
	return id
}

// The first worker notes where the database lives; a copy shows that it lives
// elsewhere, and the original that it does not.
func TestWhereADatabaseLives(t *testing.T) {
	d := open(t)
	first := d.identity()
	if first.Home != "" || first.Timeline != "" || first.Here == "" || first.TimelineHere == "" || first.Epoch != 1 || first.LastEvent != 0 {
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
	if id.Home != again.Home || id.Here == again.Here || id.LastEvent != d.identity().LastEvent || id.LastEvent == 0 {
		t.Errorf("a copy: %+v, the original: %+v", id, d.identity())
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
