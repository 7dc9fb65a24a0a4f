//go:build race

package tokencache_test

import "runtime"

// Timers of one bubble that fire on two processors at once break the race detector
// itself (golang/go#78156). What it sees does not depend on how many there are.
func init() { runtime.GOMAXPROCS(1) }
