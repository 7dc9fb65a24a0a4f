package store

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
)

// OpenNoticing is Open, and hands on what the server says beside its answers.
func OpenNoticing(ctx context.Context, c Config, notice pgconn.NoticeHandler) (*Store, error) {
	return open(ctx, c, notice)
}

// Setting is what the server says of a setting of the Store's sessions.
func (s *Store) Setting(ctx context.Context, name string) (value string, err error) {
	err = s.pool.QueryRow(ctx, `select current_setting($1)`, name).Scan(&value)
	return value, err
}
