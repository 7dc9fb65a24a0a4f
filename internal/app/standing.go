package app

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"ddsworker/internal/dds"
	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
	"ddsworker/internal/store"
	"ddsworker/internal/tokencache"
)

// partStanding is the part of /readyz that says why a database must not act.
const partStanding = "standing"

// partSpeed is the part of /readyz that says that the database answers, but late.
const partSpeed = "database speed"

// standingInterval lies between two looks whether the database may act; a pool that
// is led elsewhere asks for one at once.
const standingInterval = 5 * time.Second

// standing knows whether this worker's database may act: whether it is no copy and
// not older than what was done already.
type standing struct {
	db     *store.Store
	health *provision.Health
	barred atomic.Bool // nothing may be called or published
}

// judge reads both sides, the streams first, and judges.
func judge(ctx context.Context, db *store.Store, conn *queue.Conn) (provision.Identity, error) {
	streams, err := queue.Identities(ctx, conn.JetStream())
	if err != nil {
		return provision.Identity{}, err
	}
	last, err := queue.LastEvent(ctx, conn.JetStream())
	if err != nil {
		return provision.Identity{}, err
	}
	id, err := db.Identity(ctx, last)
	if err != nil {
		return provision.Identity{}, err
	}
	return id, provision.JudgeStanding(id, streams, last.ID)
}

// await returns who we are once the database may act.
func (s *standing) await(ctx context.Context, conn *queue.Conn) (id provision.Identity, err error) {
	err = keepTrying(ctx, s.health, partStanding, func() (err error) {
		if id, err = judge(ctx, s.db, conn); err == nil {
			err = s.db.Settle(ctx, id)
		}
		return err
	})
	s.barred.Store(err != nil)
	return id, err
}

// watch returns a context that ends with ctx, and as soon as the database must not
// act any more or is another one than id. What cannot be read meanwhile changes
// nothing: the pool lets itself not be led elsewhere. The function returned ends it.
func (s *standing) watch(ctx context.Context, id provision.Identity, judge func(context.Context) (provision.Identity, error)) (context.Context, func()) {
	acting, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	var failing unjudged
	go func() {
		defer close(done)
		defer stop()
		for {
			select {
			case <-acting.Done():
				return
			case <-s.db.Moved():
			case <-time.After(standingInterval):
			}
			s.health.Report(partSpeed, s.db.Slow())
			now, err := judge(acting)
			switch _, lost := errors.AsType[*provision.StandingError](err); {
			case lost || err == nil && !now.Same(id):
				s.barred.Store(true)
				s.health.Report(partStanding, err)
				return
			case err == nil:
				failing = unjudged{}
				s.health.Report(partStanding, s.db.Settle(acting, now))
			default:
				if err = failing.again(err); err != nil {
					s.health.Report(partStanding, err)
				}
			}
		}
	}()
	return acting, func() { stop(); <-done }
}

// unjudged counts judgements in a row that could not be made.
type unjudged struct {
	n     int
	since time.Time
}

// doubtful is how many of them are told: whatever keeps both sides from being read
// for a moment is told by other parts.
const doubtful = 6

// again returns what is to be told after one more, if anything is.
func (u *unjudged) again(err error) error {
	if u.n++; u.n == 1 {
		u.since = time.Now()
	}
	switch {
	case errors.Is(err, store.ErrReplica): // which is an answer
		return err
	case u.n < doubtful:
		return nil
	}
	return fmt.Errorf("nobody has been able to judge whether the database may act since %s: %w", u.since.UTC().Format(time.RFC3339), err)
}

// errBarred is why nothing is called or published.
var errBarred = errors.New("the database must not act, see `standing` on /readyz")

// standingTokens hands out no token, without which nothing can be called, while the
// database must not act.
type standingTokens struct {
	*tokencache.Cache
	standing *standing
}

var _ dds.Tokens = standingTokens{}

func (t standingTokens) Token(ctx context.Context, projectID string) (tokencache.Token, error) {
	if t.standing.barred.Load() {
		return tokencache.Token{}, errBarred
	}
	return t.Cache.Token(ctx, projectID)
}

// standingEvents publishes nothing while the database must not act.
type standingEvents struct {
	provision.EventPublisher
	standing *standing
}

func (e standingEvents) Publish(ctx context.Context, after uint64, events []provision.Event) (provision.Published, error) {
	if e.standing.barred.Load() {
		return provision.Published{After: after, Last: after}, errBarred
	}
	return e.EventPublisher.Publish(ctx, after, events)
}
