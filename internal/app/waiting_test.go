package app_test

import (
	"testing"
	"time"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

// What the cloud asks to wait for is kept as a due time, and survives the worker.
func TestRetryAfterSurvivesARestart(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	w := s.start(nil)
	s.script("create", ddsfake.Answer{Kind: ddsfake.TooMany, Header: map[string]string{"Retry-After": "4"}})
	s.publish(single("throttled"))
	s.eventually("the first answer", func() bool { return s.count(`select count(*) from attempts where outcome = 'not_executed'`) == 1 })
	w.stop()
	s.start(map[string]string{"WORKER_NAME": "next"})
	s.wantEnd("throttled", provision.Ready, "")
	if waited := s.value(`select (b.intended_at - a.finished_at >= interval '4 seconds')::text from attempts a join attempts b using (request_id) where a.number = 1 and b.number = 2`); waited != "true" {
		t.Error("the second call came before its time")
	}
	if outcomes := s.value(`select string_agg(outcome, ' ' order by number) from attempts`); outcomes != "not_executed created" {
		t.Errorf("outcomes: %s", outcomes)
	}
}

// A request that never gets through ends after its deadline, by a look of its own.
func TestTheCreateDeadlineEndsByALook(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	s.start(map[string]string{"CREATE_DEADLINE": "1s"})
	s.publish(single("first"))
	s.wantEnd("first", provision.Ready, "")
	if err := s.cloud.SetFaults(ddsfake.Faults{"create": {ddsfake.StateConflict: 1}}); err != nil {
		t.Fatal(err)
	}
	s.publish(single("refused"))
	s.wantEnd("refused", provision.Failed, "a conclusive look found no instance of it")
	if n := s.count(`select count(*) from events join requests using (request_id) where name = 'refused' and kind = 'failed' and detail like 'no instance is named%'`); n != 1 {
		t.Error("it ended without a look")
	}
	if s.living()["refused"] != 0 {
		t.Error("something lives")
	}
}
