package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ddsworker/internal/app"
	"ddsworker/internal/provision"
)

// Whoever may not prune is told the rights that it takes, and nobody else is.
func TestPruningNamesTheRightsThatAreMissing(t *testing.T) {
	super, err := pgxpool.New(t.Context(), env.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(super.Close)
	for address, missing := range map[string]bool{login(t, super, "pg_monitor"): true, "postgres://u@127.0.0.1:1/d": false} {
		var a app.App
		a.Config.Database.URL = provision.NewSecret(address)
		_, err := a.Prune(t.Context(), app.Age(time.Hour), func(provision.Pruned) {})
		if err == nil || strings.Contains(err.Error(), "it takes the rights of the role ddsworker_pruner") != missing {
			t.Errorf("a right is missing: %v, and it says %v", missing, err)
		}
	}
}
