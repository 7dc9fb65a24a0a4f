package store_test

import (
	"testing"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/provision/storetest"
	"ddsworker/internal/store"
)

// The store in memory that the model test trusts passes the same.
func TestStoreConforms(t *testing.T) {
	storetest.Conform(t, func(t *testing.T, check func(*testing.T, storetest.Store, func(time.Duration))) {
		address, clock := env.ClockedPostgres(t)
		s, err := store.Open(t.Context(), store.Config{URL: provision.NewSecret(asWorker(t, address))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		check(t, s, func(d time.Duration) {
			if err := clock.Set(t.Context(), clock.Now().Add(d)); err != nil {
				t.Fatal(err)
			}
		})
	})
}
