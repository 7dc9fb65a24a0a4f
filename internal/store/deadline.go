package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// callTimeout ends what statementTimeout cannot: that one is the server's, and
// nothing it says comes through a connection that went silent.
const callTimeout = 35 * time.Second

// A silence is the error of a call that had no answer for so long. It is not a
// context's error, because the context of whoever called did not end.
type silence time.Duration

func (s silence) Error() string {
	return fmt.Sprintf("the database did not answer within %v", time.Duration(s))
}

// calls is the pool, each call of which has a deadline of its own. That covers
// the wait for a connection and the reading of all rows.
type calls struct {
	pool    *pgxpool.Pool
	timeout time.Duration
	pulse   pulse
}

func (c *calls) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, c.timeout, silence(c.timeout))
}

// explain replaces the driver's error of a call that our deadline ended.
func explain(ctx context.Context, err error) error {
	if _, answered := errors.AsType[*pgconn.PgError](err); err == nil || answered {
		return err
	}
	if s, ok := errors.AsType[silence](context.Cause(ctx)); ok {
		return s
	}
	return err
}

func (c *calls) Ping(ctx context.Context) error {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	return explain(ctx, c.pool.Ping(ctx))
}

func (c *calls) Acquire(ctx context.Context) (*pgxpool.Conn, error) {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	conn, err := c.pool.Acquire(ctx)
	return conn, explain(ctx, err)
}

func (c *calls) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	defer c.pulse.took(time.Now())
	tag, err := c.pool.Exec(ctx, sql, args...)
	return tag, explain(ctx, err)
}

// Query's rows must be closed, as the collecting functions of pgx do.
func (c *calls) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	ctx, cancel := c.deadline(ctx)
	rows, err := c.pool.Query(ctx, sql, args...)
	if err != nil {
		defer cancel()
		return nil, explain(ctx, err)
	}
	return timedRows{rows, ctx, cancel}, nil
}

func (c *calls) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	ctx, cancel := c.deadline(ctx)
	return timedRow{c.pool.QueryRow(ctx, sql, args...), ctx, cancel}
}

// SendBatch runs all statements in one transaction and one round trip, and what
// they were queued with.
func (c *calls) SendBatch(ctx context.Context, b *pgx.Batch) error {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	defer c.pulse.took(time.Now())
	return explain(ctx, c.pool.SendBatch(ctx, b).Close())
}

type timedRows struct {
	pgx.Rows
	ctx    context.Context
	cancel context.CancelFunc
}

func (r timedRows) Err() error { return explain(r.ctx, r.Rows.Err()) }

func (r timedRows) Close() {
	r.Rows.Close()
	r.cancel()
}

type timedRow struct {
	pgx.Row
	ctx    context.Context
	cancel context.CancelFunc
}

func (r timedRow) Scan(to ...any) error {
	defer r.cancel()
	return explain(r.ctx, r.Row.Scan(to...))
}
