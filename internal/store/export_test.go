package store

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
)

// OpenNoticing is Open, and hands on what the server says beside its answers.
func OpenNoticing(ctx context.Context, c Config, notice pgconn.NoticeHandler) (*Store, error) {
	return open(ctx, c, notice)
}
