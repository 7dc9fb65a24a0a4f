package store

import (
	"fmt"
	"sync"
	"time"
)

// A pulse knows how fast the database takes what is written to it. A single statement
// may be long, or wait for a lock: only if even the fastest of several is late, is the
// database.
type pulse struct {
	mu      sync.Mutex
	writes  int // since it was asked last
	fastest time.Duration
}

const (
	late   = 100 * time.Millisecond
	enough = 3 // writes
)

// took notes a write that has just ended.
func (p *pulse) took(began time.Time) {
	took := time.Since(began)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writes++; p.writes == 1 || took < p.fastest {
		p.fastest = took
	}
}

// slow is an error if the writes since the last call were slow. It begins anew.
func (p *pulse) slow() error {
	p.mu.Lock()
	writes, fastest := p.writes, p.fastest
	p.writes = 0
	p.mu.Unlock()
	if writes < enough || fastest < late {
		return nil
	}
	return fmt.Errorf("the database is slow: of the last %d writes the fastest took %v; look at its load, its disk and the way to it",
		writes, fastest.Round(time.Millisecond))
}

// Slow is an error if the database was slow to take what was written to it since the
// last call.
func (s *Store) Slow() error { return s.pool.pulse.slow() }
