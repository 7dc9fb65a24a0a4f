package provision

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// brittle is a line to other workers that breaks three times before it holds.
type brittle struct {
	woken, listened int
	hold            func(ctx context.Context, woken func())
}

func (o *brittle) Wake(context.Context) error { o.woken++; return errors.New("down") }

func (o *brittle) Listen(ctx context.Context, woken func()) error {
	if o.listened++; o.listened <= 3 {
		return errors.New("down")
	}
	woken()
	o.hold(ctx, woken)
	return ctx.Err()
}

func TestABurstIsToldInFewWordsAndToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &brittle{}
		w := &Waking{Others: o, Unclaimed: NewBell()}
		told := make(chan struct{})
		go func() { w.tell(t.Context()); close(told) }()
		for range 1000 {
			w.Unclaimed.Ring()
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if o.woken < 9 || o.woken > 11 {
			t.Errorf("others were woken %d times in 100 ms, want once every %v", o.woken, breath)
		}
		before := o.woken
		w.Unclaimed.Ring()
		close(w.Unclaimed) // the worker stops
		if <-told; o.woken != before+1 {
			t.Error("what was rung last was not told")
		}
	})
}

func TestHearingGoesOnAfterTheLineBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		bell, word := NewBell(), make(chan struct{})
		o := &brittle{hold: func(ctx context.Context, woken func()) {
			<-word
			woken()
			<-ctx.Done()
		}}
		w := &Waking{Others: o, Health: NewHealth(slog.New(slog.DiscardHandler)), Woken: []Bell{bell}}
		heard := make(chan struct{})
		go func() { w.hear(ctx); close(heard) }()
		synctest.Wait()
		if n := len(w.Health.Problems()); n != 1 {
			t.Errorf("%d problems while nothing can be heard, want 1", n)
		}
		<-bell // one may have told something meanwhile
		close(word)
		<-bell
		if p := w.Health.Problems(); len(p) != 0 || o.listened != 4 {
			t.Errorf("%v after it listened %d times", p, o.listened)
		}
		stop()
		<-heard
	})
}
