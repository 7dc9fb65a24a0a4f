package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ddsworker/internal/provision"
)

// silent is a database that answers as it is told to; nil: not at all.
type silent struct{ answer atomic.Pointer[func() error] }

func (s *silent) Ping(ctx context.Context) error {
	answer := s.answer.Load()
	if answer == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return (*answer)()
}

func (s *silent) says(err error) {
	answer := func() error { return err }
	s.answer.Store(&answer)
}

func TestASilentDatabaseIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		health := provision.NewHealth(slog.New(slog.DiscardHandler))
		db := &silent{}
		db.says(nil)
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
		db.answer.Store(nil)
		want(watchInterval+watchPatience, "has not answered for 4s")
		db.says(errors.New("too many connections"))
		want(watchInterval+watchPatience, "too many connections")
		db.says(nil)
		want(watchInterval, "")
		db.answer.Store(nil)
		cancel()
		<-ended
	})
}
