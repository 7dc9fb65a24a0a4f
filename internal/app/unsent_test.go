package app_test

import (
	"fmt"
	"testing"
	"time"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

func TestAWorkerThatReachesNothingLeavesTheWorkToAnother(t *testing.T) {
	s := newSystem(t, ddsfake.Config{JobMin: 50 * time.Millisecond, JobMax: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	// Before tags are proved a look comes between two calls, and each has its own attempt.
	proving := s.start(nil)
	s.publish(single("first"))
	s.wantState(provision.Ready, 1)
	proving.stop()
	s.start(map[string]string{"WORKER_NAME": "cut-off", "DDS_ENDPOINT": "http://127.0.0.1:9"})
	const n = 100
	var bodies [][]byte
	for i := range n {
		bodies = append(bodies, single(fmt.Sprintf("one-%d", i)))
	}
	s.publish(bodies...)
	s.eventually("the first calls are known to have reached nothing", func() bool {
		return s.count(`select count(*) from events where kind = 'waiting'`) > 0
	})
	s.wantState(provision.Pending, n) // no call of the first ones is open
	tried := s.count(`select count(*) from events`)
	time.Sleep(3 * time.Second) // the time in which nothing may pile up
	if more := s.count(`select count(*) from events`) - tried; more > 60 {
		t.Errorf("%d events in 3 s of a worker that reaches nothing", more)
	}
	began := time.Now()
	s.start(map[string]string{"WORKER_NAME": "healthy"})
	s.wantState(provision.Ready, n+1)
	t.Logf("%d requests are ready %v after a healthy worker came", n, time.Since(began).Round(time.Millisecond))
	s.wantOneEach(n + 1)
	if unsent := s.count(`select count(*) from attempts`) - n - 1; unsent > 0 {
		t.Errorf("%d attempts too many are recorded", unsent)
	}
}
