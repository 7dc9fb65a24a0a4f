package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

// Identity reads who the database is and where, on a connection of its own, as a
// new one shows where the database is by now. The newest event is the last that is
// there; where all are pruned, the last there ever was.
func (s *Store) Identity(ctx context.Context) (id provision.Identity, err error) {
	ctx, cancel := s.pool.deadline(ctx)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, s.pool.pool.Config().ConnConfig)
	if err != nil {
		return id, explain(ctx, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	here, err := whereIs(ctx, conn)
	if err == nil {
		id, err = identityOf(ctx, conn)
	}
	id.Here, id.TimelineHere = here.home, here.timeline
	return id, translate(explain(ctx, err))
}

// querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func identityOf(ctx context.Context, q querier) (id provision.Identity, err error) {
	err = q.QueryRow(ctx, `
		select i.id::text, i.epoch, coalesce(i.home, ''), coalesce(i.timeline, ''), coalesce((select max(id) from events),
			(select coalesce(last_value, 0) from pg_sequences where schemaname = current_schema and sequencename = 'events_id_seq'), 0)
		from installation i`).Scan(&id.Installation, &id.Epoch, &id.Home, &id.Timeline, &id.LastEvent)
	return id, err
}

// Settle notes where the database lives, unless somebody else was faster, and lets
// the pool reach it there and nowhere else. It is called with an identity that was
// judged.
func (s *Store) Settle(ctx context.Context, judged provision.Identity) error {
	if s.gate.admit(place{judged.Here, judged.TimelineHere}) {
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
