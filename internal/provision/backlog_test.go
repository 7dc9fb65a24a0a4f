package provision

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// countedStore tells a number, and how often it was asked.
type countedStore struct {
	n, asked int
	takes    time.Duration
}

func (c *countedStore) Waiting(_ context.Context, upTo int) (int, error) {
	c.asked++
	time.Sleep(c.takes) // of the bubble
	return min(c.n, upTo), nil
}

func TestTheIntakeStopsAndGoesOnByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		store := &countedStore{takes: time.Millisecond}
		b := &Backlog{Store: store, Limit: 100, Log: slog.New(slog.NewTextHandler(&log, nil))}
		want := func(room int) {
			t.Helper()
			if n, wait, err := b.room(t.Context()); err != nil || n != room || (wait > 0) != (n == 0) {
				t.Errorf("room for %d, wait %v, %v; want room for %d", n, wait, err, room)
			}
		}
		want(100)
		b.added += 60
		want(40) // counted by itself
		b.added += 40
		want(0)
		want(0)
		store.n = 98
		time.Sleep(time.Second)
		want(0) // not for so little
		store.n = 50
		want(0) // not counted again yet
		time.Sleep(time.Second)
		want(50)
		if n := strings.Count(log.String(), "the intake stops"); n != 1 || strings.Count(log.String(), "the intake goes on") != 1 {
			t.Errorf("it was told %d times that it stops: %s", n, log.String())
		}
	})
}

// Beside a million a count takes long: it may have a hundredth of the time.
func TestCountingHasAHundredthOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &countedStore{takes: 200 * time.Millisecond}
		b := &Backlog{Store: store, Limit: 1_000_000, Log: slog.New(slog.DiscardHandler)}
		for began := time.Now(); time.Since(began) < 10*time.Minute; {
			if _, _, err := b.room(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.added += 500
			time.Sleep(100 * time.Millisecond)
		}
		if store.asked < 20 || store.asked > 31 {
			t.Errorf("it was counted %d times in ten minutes, want about 30", store.asked)
		}
	})
}
