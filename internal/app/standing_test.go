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
	"ddsworker/internal/store"
)

type answer struct{ err error }

// What keeps the database from being judged is told when it lasts, and a replica at
// once; neither ends the work, as what was judged to be lost does.
func TestWhatIsToldWhileTheDatabaseCannotBeJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), store.Config{URL: provision.NewSecret("postgres://u@192.0.2.1/d")})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		s := &standing{db: db, health: provision.NewHealth(slog.New(slog.DiscardHandler))}
		id := provision.Identity{Installation: "a", Home: "h", Here: "h"}
		var says atomic.Value
		says.Store(answer{})
		acting, end := s.watch(t.Context(), id, func(context.Context) (provision.Identity, error) { return id, says.Load().(answer).err })
		defer end()
		for _, step := range []struct {
			err   error
			after time.Duration
			told  string
			ended bool
		}{
			{nil, standingInterval, "", false},
			{errors.New("too many connections"), (doubtful - 1) * standingInterval, "", false},
			{errors.New("permission denied"), standingInterval, "since 2000-01-01T00:00:10Z: permission denied", false},
			{store.ErrReplica, standingInterval, "read-only replica", false},
			{nil, standingInterval, "", false},
			{store.ErrReplica, standingInterval, "read-only replica", false},
			{nil, standingInterval, "", false},
			{errors.New("too many connections"), (doubtful - 1) * standingInterval, "", false},
			{&provision.StandingError{Reason: "older"}, standingInterval, "older", true},
		} {
			says.Store(answer{step.err})
			time.Sleep(step.after)
			synctest.Wait()
			switch p := s.health.Problems(); {
			case step.told == "" && len(p) > 0:
				t.Errorf("after %v: %v, want nothing", step.err, p)
			case step.told != "" && (len(p) != 1 || p[0].Part != partStanding || !strings.Contains(p[0].Error, step.told)):
				t.Errorf("after %v: %v, want %q", step.err, p, step.told)
			}
			if ended := acting.Err() != nil; ended != step.ended || s.barred.Load() != step.ended {
				t.Errorf("after %v: it ended: %v, is barred: %v; want %v", step.err, ended, s.barred.Load(), step.ended)
			}
		}
	})
}
