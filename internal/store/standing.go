package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

// Identity reads who the database is and where, on a connection of its own, as a
// new one shows where the database is by now; and whether it knows the event, which
// is the last of the stream, if there is one. What a replica says is no answer:
// ErrReplica.
func (s *Store) Identity(ctx context.Context, last provision.Event) (id provision.Identity, err error) {
	ctx, cancel := s.pool.deadline(ctx)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, s.pool.pool.Config().ConnConfig)
	if err != nil {
		return id, explain(ctx, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	here, err := whereIs(ctx, conn)
	switch {
	case err != nil:
	case here.replica:
		err = ErrReplica
	default:
		id, err = identityOf(ctx, conn, last)
	}
	id.Here, id.TimelineHere = here.home, here.timeline
	return id, translate(explain(ctx, err))
}

// querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// An event that is not there is known all the same if a recovery took it over, or if it
// is pruned: of a request that leaves its id, and of a refusal nothing. But it was
// published before, which the relay noted, and the newest event is never pruned. Ids
// behind it do not suffice: a sequence may jump in a restore, and somebody wish something.
const identitySQL = `
select i.id::text, i.epoch, coalesce(i.home, ''), coalesce(i.timeline, ''), $1 <= i.recovered_event
	or exists (select 1 from events e where e.id = $1 and e.request_id = $2 and e.at = $3)
	or ($4 or exists (select 1 from pruned_requests p where p.request_id = $2))
		and $5 <= (select sequence from relay)
		and not exists (select 1 from events e where e.id = $1) and exists (select 1 from events e where e.id > $1)
from installation i`

func identityOf(ctx context.Context, q querier, last provision.Event) (id provision.Identity, err error) {
	err = q.QueryRow(ctx, identitySQL, last.ID, last.RequestID, last.At, last.State == provision.Rejected, int64(last.Sequence)).
		Scan(&id.Installation, &id.Epoch, &id.Home, &id.Timeline, &id.KnowsLast)
	return id, err
}

// Settle notes where the database lives, unless somebody else was faster, and lets
// the pool reach it there and nowhere else. It is called with an identity that was
// judged.
func (s *Store) Settle(ctx context.Context, judged provision.Identity) error {
	if s.gate.admit(place{home: judged.Here, timeline: judged.TimelineHere}) {
		s.pool.pool.Reset()
	}
	if judged.Home == judged.Here && judged.Timeline == judged.TimelineHere {
		return nil
	}
	tag, err := s.pool.Exec(ctx, `
		update installation set home = $1, timeline = nullif($2, '')
		where id = $3 and epoch = $4 and coalesce(home, '') = $5 and coalesce(timeline, '') = $6`,
		judged.Here, judged.TimelineHere, judged.Installation, judged.Epoch, judged.Home, judged.Timeline)
	if err == nil && tag.RowsAffected() == 0 {
		return fmt.Errorf("the database's identity changed while it was judged; it is judged again")
	}
	return translate(err)
}

// Moved tells when the pool was led elsewhere than to the place of Settle.
func (s *Store) Moved() <-chan struct{} { return s.gate.moved }
