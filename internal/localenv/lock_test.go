package localenv

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lockName is one that no other run uses.
func lockName() string { return "test-" + strconv.FormatInt(time.Now().UnixNano(), 10) }

func TestLockIsHeldByOne(t *testing.T) {
	t.Parallel()
	name := lockName()
	var holders, taken atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				unlock, err := Lock(t.Context(), name)
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				taken.Add(1)
				holders.Add(-1)
				if err := unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := taken.Load(); n != 8*5 {
		t.Errorf("it was taken %d times, want 40", n)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "*"+name+"*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestLockWaitsUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	name := lockName()
	unlock, err := Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second Lock gave %v, want DeadlineExceeded", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
}
