package provision

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// dueStore has so many requests that are due.
type dueStore struct{ due int }

func (s *dueStore) ClaimCreates(_ context.Context, q ClaimQuery) ([]CreateClaim, error) {
	claims := make([]CreateClaim, min(s.due, q.Limit))
	for i := range claims {
		claims[i].ProjectID = "p"
	}
	s.due -= len(claims)
	return claims, nil
}

func (s *dueStore) RecordCreates(context.Context, []CreateResult) error { return nil }

func TestIntakeClaimsOnlyWhatThereIsRoomForAndNobodyIsBefore(t *testing.T) {
	store := &dueStore{}
	c := &Creator{Store: store, Served: Served{Projects: []string{"p"}}, Policy: DefaultPolicy(), Concurrency: 2, Due: NewBell()}
	// insert is an insert of one row, and tells how many it might have claimed.
	insert := func() (limit int) {
		t.Helper()
		if err := c.claimWith(func(q ClaimQuery) (claims []CreateClaim, _ error) {
			if most, bounded := q.Most["p"]; q.Limit > 0 && (!bounded || most > 0) {
				limit = q.Limit
				claims = []CreateClaim{{ProjectID: "p"}}
			}
			return claims, nil
		}); err != nil {
			t.Fatal(err)
		}
		return limit
	}
	want := func(what string, limit int) {
		t.Helper()
		if got := insert(); got != limit {
			t.Fatalf("%s: it might claim %d, want %d", what, got, limit)
		}
	}
	leave := func(n int) {
		for range n {
			c.inFlight().leave("p")
		}
	}
	want("empty", 2)
	want("one is claimed", 1)
	want("full", 0)
	if n := len(c.desk.handed()); n != 2 {
		t.Fatalf("%d were handed over, want 2", n)
	}
	leave(2)

	c.desk.claims <- struct{}{}
	want("somebody claims", 0)
	<-c.desk.claims

	store.due = 3
	if claims, more, err := c.claim(t.Context()); err != nil || len(claims) != 2 || !more {
		t.Fatalf("claimed %v, %v, %v", claims, more, err)
	}
	if c.desk.idle.is() {
		t.Error("something is left, and a call that ends tells nobody")
	}
	leave(2)
	want("others are due", 0)
	if claims, more, err := c.claim(t.Context()); err != nil || len(claims) != 1 || more {
		t.Fatalf("claimed %v, %v, %v", claims, more, err)
	}
	if !c.desk.idle.is() {
		t.Error("nothing is left, and each call that ends has it looked for")
	}
	leave(1)
	want("nobody is due any more", 2)
	leave(1)

	c.unsent.note("p", &CloudError{Class: ClassNotSent})
	want("nothing can be sent", 0)
	c.unsent.note("p", nil)
	want("it can again", 2)
	if n := len(c.desk.close(t.Context())); n != 2 {
		t.Errorf("%d were left when it closed, want 2", n)
	}
	leave(2)
	want("the creator has stopped", 0)
}

// stuckStore has much that is due, and records nothing until it is let go.
type stuckStore struct {
	dueStore
	claimed atomic.Int64
	let     chan struct{}
}

func (s *stuckStore) ClaimCreates(ctx context.Context, q ClaimQuery) ([]CreateClaim, error) {
	claims, err := s.dueStore.ClaimCreates(ctx, q)
	for i := range claims {
		claims[i].Spec = []byte(`{}`)
	}
	s.claimed.Add(int64(len(claims)))
	return claims, err
}

func (s *stuckStore) RecordCreates(context.Context, []CreateResult) error {
	<-s.let
	return nil
}

type quickCloud struct{}

func (quickCloud) CreateInstance(context.Context, string, []byte) (Created, error) {
	return Created{InstanceID: "i", HTTPStatus: 202}, nil
}

// TestACallThatEndedMakesWay: before its outcome is recorded; but when twice as many
// outcomes wait as there may be calls, nothing more is claimed.
func TestACallThatEndedMakesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls, due = 8, 100
		store := &stuckStore{dueStore: dueStore{due: due}, let: make(chan struct{})}
		c := &Creator{Cloud: quickCloud{}, Store: store, Served: Served{Projects: []string{"p"}}, Policy: DefaultPolicy(),
			Concurrency: calls, Health: quietHealth(), Log: slog.New(slog.DiscardHandler), Due: NewBell()}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { c.Run(ctx, t.Context()); close(ended) }()
		synctest.Wait()
		time.Sleep(time.Minute) // of the bubble
		if n := store.claimed.Load(); n < 2*calls || n > 3*calls {
			t.Errorf("%d were claimed while nothing is recorded, want about %d", n, 2*calls)
		}
		close(store.let)
		time.Sleep(time.Minute)
		if n := store.claimed.Load(); n != due {
			t.Errorf("%d of %d were claimed", n, due)
		}
		stop()
		<-ended
	})
}
