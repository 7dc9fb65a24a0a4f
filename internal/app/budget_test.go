package app_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"ddsworker/internal/dds/ddsfake"
)

const otherProject = "00000000000000000000000000000002"

// fleet starts n workers.
func (s *system) fleet(n int, overrides map[string]string) {
	s.t.Helper()
	overrides["DATABASE_MAX_CONNS"], overrides["LOG_LEVEL"] = "4", "info"
	for i := range n {
		overrides["WORKER_NAME"] = fmt.Sprintf("worker-%d", i)
		s.start(overrides)
	}
}

// publishFor publishes a request for a project.
func (s *system) publishFor(project, name string) {
	s.t.Helper()
	_, err := s.js.PublishMsg(s.t.Context(), &nats.Msg{Subject: "dds.requests", Data: single(name),
		Header: nats.Header{"Dds-Project-Id": {project}}})
	if err != nil {
		s.t.Fatal(err)
	}
}

// backlog writes n due requests for a project.
func (s *system) backlog(project string, n int) {
	s.t.Helper()
	_, err := s.db.Exec(s.t.Context(), `insert into projects (project_id, marks_seen_at) values ($1, now()) on conflict (project_id) do update set marks_seen_at = now()`, project)
	if err == nil {
		_, err = s.db.Exec(s.t.Context(), `
			insert into requests (request_id, state, project_id, region, name, mode, prepaid, spec, fingerprint, stream_sequence, received_at)
			select left($1, 4) || right($1, 4) || '-' || g, 'pending', $1, 'aaa', 'backlog-' || g, 'Single', false,
				jsonb_set(jsonb_set($2::jsonb - 'password', '{name}', to_jsonb('backlog-' || g)), '{ssl_option}', '"1"'), sha256(g::text::bytea), g, now()
			from generate_series(1, $3::int) g`, project, string(single("any")), n)
	}
	if err == nil {
		_, err = s.db.Exec(s.t.Context(), `analyze requests`)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// watched is what the cloud has seen in a while.
type watched struct {
	ddsfake.Stats
	took time.Duration
}

func (s *system) watch(d time.Duration) watched {
	before, began := s.cloud.Stats(), time.Now()
	time.Sleep(d) // the time that is measured
	after := s.cloud.Stats()
	for op, n := range before.Calls {
		after.Calls[op] -= n
	}
	after.Throttled -= before.Throttled
	return watched{after, time.Since(began)}
}

func (w watched) calls() (n int) {
	for op, of := range w.Calls {
		if op != ddsfake.OpLogin {
			n += of
		}
	}
	return n
}

func TestTheFleetKeepsTheRateOfTheAccount(t *testing.T) {
	s := newSystem(t, ddsfake.Config{JobMin: 3 * time.Second, JobLag: -1, SettleLag: -1})
	s.backlog(ddsfake.DefaultProjectID, 5000)
	s.fleet(5, map[string]string{"DDS_RATE": "20/s"})
	s.eventually("calls", func() bool { return s.cloud.Stats().CreatesReceived > 0 })
	w := s.watch(seconds(t, 8, 15))
	creates, rate := w.Calls[ddsfake.OpCreate], float64(w.calls())/w.took.Seconds()
	t.Logf("%.1f calls a second, of which creates %d of %d; at most %d in any second", rate, creates, w.calls(), w.MaxInAnySecond)
	if w.MaxInAnySecond > 24 {
		t.Errorf("%d calls in a second", w.MaxInAnySecond)
	}
	if rate < 14 {
		t.Errorf("%.1f calls a second, want nearly 20", rate)
	}
	if reads := w.calls() - creates; creates < w.calls()/2 || reads < w.calls()/10 {
		t.Errorf("%d creates and %d reads", creates, reads)
	}
}

// TestTheFleetKeepsTheRateAfterALogin: what was claimed while there was no token does
// not leave together once there is one.
func TestTheFleetKeepsTheRateAfterALogin(t *testing.T) {
	s := newSystem(t, ddsfake.Config{JobMin: 3 * time.Second, JobLag: -1, SettleLag: -1, LoginLatency: 3 * time.Second})
	s.backlog(ddsfake.DefaultProjectID, 1000)
	s.fleet(1, map[string]string{"DDS_RATE": "20/s", "CREATE_CONCURRENCY": "64", "CALL_TIMEOUT": "10s"})
	s.eventually("calls", func() bool { return s.cloud.Stats().CreatesReceived > 50 })
	if most := s.cloud.Stats().MaxInAnySecond; most > 24 {
		t.Errorf("%d calls in a second", most)
	}
}

func TestTheFleetFindsTheRateThatTheCloudAllows(t *testing.T) {
	s := newSystem(t, ddsfake.Config{JobMin: 3 * time.Second, JobLag: -1, SettleLag: -1, Throttle: 50})
	s.backlog(ddsfake.DefaultProjectID, 20_000)
	s.fleet(5, map[string]string{"RETRY_MIN": "500ms", "RETRY_MAX": "5s"})
	s.eventually("calls", func() bool { return s.cloud.Stats().CreatesReceived > 0 })
	for range 7 {
		w := s.watch(2 * time.Second)
		t.Logf("settling: %.1f calls a second, %d throttled; %s", float64(w.calls())/w.took.Seconds(), w.Throttled,
			s.value(`select concat_ws(' ', round(learnt_rate::numeric, 1), round(seen_rate::numeric, 1), now()-cut_at, round(sent::numeric,1)) from budgets`))
	}
	// On a busy machine it takes longer until it has settled.
	var rate, refused float64
	for range 8 {
		w := s.watch(seconds(t, 8, 20))
		rate, refused = float64(w.calls())/w.took.Seconds(), float64(w.Throttled)/float64(w.calls())
		t.Logf("%.1f calls a second, %.2f %% of %d refused", rate, 100*refused, w.calls())
		if refused <= 0.02 && rate >= 30 {
			return
		}
	}
	t.Errorf("%.1f %% of the calls are refused, %.1f a second of 50 are made", 100*refused, rate)
}

// seconds is how long something is measured: a short time, or a long one where
// DDSWORKER_TEST_LONG is set.
func seconds(t *testing.T, short, long int) time.Duration {
	t.Helper()
	if os.Getenv("DDSWORKER_TEST_LONG") != "" {
		short = long
	}
	return time.Duration(short) * time.Second
}
