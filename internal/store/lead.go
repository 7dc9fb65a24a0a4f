package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// lead takes a connection that holds an advisory lock until it is released. There
// is none, and no error, while somebody else holds the lock.
func (s *Store) lead(ctx context.Context, lock int64) (held *pgx.Conn, release func(), err error) {
	ctx, cancel := s.pool.deadline(ctx)
	defer cancel()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, nil, translate(err)
	}
	var ok bool
	if err := conn.QueryRow(ctx, `select pg_try_advisory_lock($1)`, lock).Scan(&ok); err != nil || !ok {
		conn.Release()
		return nil, nil, translate(explain(ctx, err))
	}
	return conn.Conn(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
		defer cancel()
		// Behind a pooler that shares sessions the lock may be another one's: it goes with
		// the connection, if at all.
		var unlocked bool
		if err := conn.QueryRow(ctx, `select pg_advisory_unlock($1)`, lock).Scan(&unlocked); err != nil || !unlocked {
			_ = conn.Conn().Close(ctx)
		}
		conn.Release()
	}, nil
}
