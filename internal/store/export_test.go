package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// OpenNoticing is Open, and hands on what the server says beside its answers.
func OpenNoticing(ctx context.Context, c Config, notice pgconn.NoticeHandler) (*Store, error) {
	return open(ctx, c, notice)
}

// ConnectTimeout is how long the Store's connections may take to be made.
func (s *Store) ConnectTimeout() time.Duration { return s.pool.pool.Config().ConnConfig.ConnectTimeout }

// Setting is what the server says of a setting of the Store's sessions.
func (s *Store) Setting(ctx context.Context, name string) (value string, err error) {
	err = s.pool.QueryRow(ctx, `select current_setting($1)`, name).Scan(&value)
	return value, err
}
