package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ddsworker/internal/provision"
)

// silent is a database that answers as it is told to; nil: not at all.
type silent struct{ answer func() error }

func (s *silent) Ping(ctx context.Context) error {
	if s.answer == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.answer()
}

func TestASilentDatabaseIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		health := provision.NewHealth(slog.New(slog.DiscardHandler))
		db := &silent{answer: func() error { return nil }}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			watchDatabase(ctx, db, health)
		}()
		want := func(after time.Duration, words string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			switch p := health.Problems(); {
			case words == "" && len(p) > 0:
				t.Errorf("%v, want nothing", p)
			case words != "" && (len(p) != 1 || p[0].Part != "database" || !strings.Contains(p[0].Error, words)):
				t.Errorf("%v, want %q", p, words)
			}
		}
		want(time.Second, "")
		db.answer = nil
		want(watchInterval+watchPatience, "has not answered for 4s")
		db.answer = func() error { return errors.New("too many connections") }
		want(watchInterval+watchPatience, "too many connections")
		db.answer = func() error { return nil }
		want(watchInterval, "")
		db.answer = nil
		cancel()
		<-ended
	})
}
