package app_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"ddsworker/internal/dds/ddsfake"
)

// What is beyond INTAKE_LIMIT stays in the stream, which is told once, and is taken in
// when there is room again.
func TestTheIntakeHasALimit(t *testing.T) {
	s := newSystem(t, ddsfake.Config{JobMin: 1, JobLag: -1, SettleLag: -1})
	w := s.start(map[string]string{"INTAKE_LIMIT": "25", "LOG_LEVEL": "info"})
	stopped := func() bool {
		answer, err := http.Get("http://" + w.Addr + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), "\nddsworker_intake_stopped 1\n")
	}
	var bodies [][]byte
	for n := range 30 {
		bodies = append(bodies, single("limit-"+string(rune('a'+n%26))+string(rune('a'+n/26))))
	}
	if stopped() {
		t.Error("it is stopped with nothing to do")
	}
	s.backlog(otherProject, 30) // nobody serves it
	s.publish(bodies...)
	s.eventually("the intake to stop", stopped)
	stream, err := s.js.Stream(t.Context(), "DDS_REQUESTS")
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if taken := s.count(`select count(*) from requests where name like 'limit-%'`); taken > 25 || info.State.Msgs < 5 {
		t.Errorf("%d were taken in, %d are in the stream", taken, info.State.Msgs)
	}
	if n := strings.Count(s.log.String(), "the intake stops"); n != 1 {
		t.Errorf("it is told %d times that the intake stops", n)
	}
	if _, err := s.db.Exec(t.Context(), `update requests set state = 'cancelled', finished_at = now() where name like 'backlog-%'`); err != nil {
		t.Fatal(err)
	}
	s.eventually("all of them to be ready", func() bool {
		return s.count(`select count(*) from requests where name like 'limit-%' and state = 'ready'`) == 30
	})
	s.eventually("the intake to be open", func() bool { return !stopped() })
}

// A worker with a retention time forgets by itself what ended before it.
func TestRetention(t *testing.T) {
	s := newSystem(t, ddsfake.Config{JobMin: 1, JobLag: -1, SettleLag: -1})
	first := s.start(nil)
	s.publish(single("old-one"))
	s.wantState("ready", 1)
	s.publish(single("kept-one")) // so the last event of the stream is its, and known
	s.wantState("ready", 2)
	s.eventually("the events to be published", func() bool { return s.count(`select count(*) from outbox`) == 0 })
	first.stop()
	for _, sql := range []string{`update requests set finished_at = finished_at - interval '2 days' where name = 'old-one'`,
		`update events set at = at - interval '2 days' where request_id = (select request_id from requests where name = 'old-one')`} {
		if _, err := s.db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	s.start(map[string]string{"RETENTION": "1d"})
	s.eventually("the old one to be forgotten", func() bool { return s.count(`select count(*) from requests where name = 'old-one'`) == 0 })
	if n := s.count(`select count(*) from pruned_requests`); n != 1 {
		t.Errorf("%d ids are kept, want 1", n)
	}
	if n := s.count(`select count(*) from requests where name = 'kept-one'`); n != 1 {
		t.Error("a young one was pruned")
	}
}
