package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Wake implements provision.OtherWorkers. It is a statement of its own, after the
// commit that it tells of: the server lets transactions that notify commit one after
// the other, and this one has nothing to be written to the disk.
func (s *Store) Wake(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `select pg_notify('ddsworker', $1)`, s.self)
	return translate(err)
}

// Listen implements provision.OtherWorkers, on a connection of its own beside the
// pool's, which passes the same gate.
func (s *Store) Listen(ctx context.Context, woken func()) error {
	conn, err := s.listening(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	woken()
	for {
		n, err := conn.WaitForNotification(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return translate(err)
		}
		if n.Payload != s.self {
			woken()
		}
	}
}

func (s *Store) listening(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := s.pool.deadline(ctx)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, s.pool.pool.Config().ConnConfig)
	if err != nil {
		return nil, explain(ctx, err)
	}
	if err = s.gate.afterConnect(ctx, conn); err == nil {
		_, err = conn.Exec(ctx, `listen ddsworker`)
	}
	if err != nil {
		closeConn(ctx, conn)
		return nil, translate(explain(ctx, err))
	}
	return conn, nil
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}
