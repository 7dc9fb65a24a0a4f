package crash

import (
	"context"
	"os"
	"testing"

	"ddsworker/internal/localenv/envtest"
	"ddsworker/internal/store"
	"ddsworker/migrations"
)

var env = envtest.Env{Migrate: func(ctx context.Context, url string) error {
	_, err := store.Migrate(ctx, url, migrations.Files)
	return err
}}

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }
