package storetest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"ddsworker/internal/provision/storetest"
)

func TestMemoryConforms(t *testing.T) {
	storetest.Conform(t, func(t *testing.T, check func(*testing.T, storetest.Store, func(time.Duration))) {
		synctest.Test(t, func(t *testing.T) { check(t, storetest.NewMemory(), time.Sleep) })
	})
}
