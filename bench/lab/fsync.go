package lab

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// Fsyncs measures how long it takes to have 8 KiB on the disk, n times, and
// returns the times in their order.
func (l *Lab) Fsyncs(n int) ([]time.Duration, error) {
	f, err := os.CreateTemp(l.dir, "fsync")
	if err != nil {
		return nil, fmt.Errorf("measure fsync: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	took := make([]time.Duration, n)
	block := make([]byte, 8<<10)
	for i := range took {
		if _, err := f.WriteAt(block, int64(i)<<13); err != nil {
			return nil, fmt.Errorf("measure fsync: %w", err)
		}
		started := time.Now()
		if err := f.Sync(); err != nil {
			return nil, fmt.Errorf("measure fsync: %w", err)
		}
		took[i] = time.Since(started)
	}
	slices.Sort(took)
	return took, nil
}
