package localenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Lock takes the lock of that name, which all processes of this user on this
// machine share, and waits for it until ctx ends. The kernel gives it back when
// the process dies, so it is never stuck. unlock may be called once.
func Lock(ctx context.Context, name string) (unlock func() error, err error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("localenv-%d-%s.lock", os.Geteuid(), name))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		file, err := tryLock(path)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if file != nil {
			return func() error { return errors.Join(os.Remove(path), file.Close()) }, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s, which somebody else holds: %w", path, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// tryLock returns the locked file, or nil if somebody else holds it.
func tryLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return nil, file.Close()
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	// The holder before us removed its file; a lock on that one is worth nothing.
	ours, errOurs := file.Stat()
	current, errCurrent := os.Stat(path)
	if errOurs != nil || errCurrent != nil || !os.SameFile(ours, current) {
		return nil, file.Close()
	}
	return file, nil
}
