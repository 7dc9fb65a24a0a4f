package main

import (
	"testing"
	"time"

	"ddsworker/internal/dds/ddsfake"
)

const fleetSize = 20

// Twenty processes that start together on two thousand waiting requests log in
// once, and once more when their token is revoked in the midst of the work, though
// a login takes five seconds. No request fails, and none is created twice.
func TestProcessesLogInOnce(t *testing.T) {
	const n, midst = 2000, 600
	const atOnce = 4 + 2*2 // the most calls of one process at a time, by the settings below
	f := newFleet(t, ddsfake.Config{LoginLatency: 5 * time.Second, CreateLatency: 250 * time.Millisecond,
		JobMin: 300 * time.Millisecond, JobLag: -1, SettleLag: -1},
		"CREATE_CONCURRENCY=4", "LOOK_CONCURRENCY=2", "POLL_INTERVAL=2s", "RETRY_MIN=1s", "RETRY_MAX=5s")
	f.publish(0, n)
	began := time.Now()
	f.start(fleetSize)
	f.eventually("some creates", time.Minute, func() bool { return f.cloud.Stats().CreatesExecuted >= midst })
	if logins, refused := f.cloud.Stats().Logins, f.refused(); logins != 1 || refused != 0 {
		t.Errorf("a cold start: %d logins and %d refused calls, want 1 and 0", logins, refused)
	}
	if revoked := f.cloud.RevokeTokens(ddsfake.RevokeGateway); revoked != 1 {
		t.Errorf("the fleet had %d tokens, want 1", revoked)
	}
	done, revokedAfter := f.cloud.Stats().CreatesExecuted, time.Since(began)
	if done >= n {
		t.Error("all was created before the token was revoked")
	}
	// The token is young, so it is replaced when it is a minute old. Until then
	// nothing is sent with it: only calls that were on their way are refused.
	f.eventually("the second login", 2*time.Minute, func() bool { return f.cloud.Stats().Logins > 1 })
	t.Logf("revoked after %v and %d creates; logged in again after %v", revokedAfter, done, time.Since(began))
	f.wantReady(n)
	t.Logf("all ready after %v; calls to the cloud: %v", time.Since(began), f.cloud.Stats().StatusesByOp)
	if logins := f.cloud.Stats().Logins; logins != 2 {
		t.Errorf("%d logins, want 2", logins)
	}
	if refused := f.refused(); refused == 0 || refused > fleetSize*atOnce {
		t.Errorf("%d calls were refused, want some, and at most %d", refused, fleetSize*atOnce)
	}
	f.stop()
}

// For a minute, twenty processes with a token of ten seconds never use it after
// its end, and do not log in more often than its renewal asks for.
func TestAMinuteOfShortTokens(t *testing.T) {
	if testing.Short() {
		t.Skip("the load lasts a minute: not with -short")
	}
	f := newFleet(t, ddsfake.Config{TokenLife: 10 * time.Second, LoginLatency: 100 * time.Millisecond,
		JobMin: time.Second, JobLag: -1, SettleLag: -1}, "POLL_INTERVAL=1s")
	f.start(fleetSize)
	n := f.trickle(100*time.Millisecond, time.Minute)
	s := f.cloud.Stats()
	t.Logf("a minute: %d requests, %d logins, calls: %v", n, s.Logins, s.StatusesByOp)
	if s.Logins < 6 || s.Logins > 8 {
		t.Errorf("%d logins in a minute, want 6 to 8", s.Logins)
	}
	f.wantReady(n)
	if refused := f.refused(); refused != 0 {
		t.Errorf("the cloud refused %d calls for their token", refused)
	}
	f.stop()
}

// trickle publishes a request at every tick until the load is over, and returns
// how many it published.
func (f *fleet) trickle(every, load time.Duration) (n int) {
	f.t.Helper()
	tick, end := time.NewTicker(every), time.After(load)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.publish(n, 1)
			n++
		case <-end:
			return n
		}
	}
}

// wantReady waits until n requests are ready, and fails unless each of them was
// created once, by a good part of the fleet.
func (f *fleet) wantReady(n int) {
	f.t.Helper()
	f.eventually("all requests ready", 2*time.Minute, func() bool {
		return f.count(`select count(*) from provisioning_history where state = 'ready'`) == n
	})
	names := map[string]int{}
	for _, i := range f.cloud.Instances() {
		names[i.Name]++
	}
	if s := f.cloud.Stats(); s.CreatesExecuted != n || len(names) != n {
		f.t.Errorf("%d instances were created, of %d names; want one for each of %d", s.CreatesExecuted, len(names), n)
	}
	if total := f.count(`select count(*) from provisioning_history`); total != n {
		f.t.Errorf("%d requests, want %d", total, n)
	}
	if failed := f.count(`select count(*) from events where state = 'failed'`); failed != 0 {
		f.t.Errorf("%d requests failed for a while", failed)
	}
	if busy := f.count(`select count(distinct worker) from attempts where outcome = 'created'`); busy < fleetSize/4 {
		f.t.Errorf("only %d processes created anything", busy)
	}
}
