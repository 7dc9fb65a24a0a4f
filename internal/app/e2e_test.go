package app_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

// The quick start's body, raw and without headers, ends as a ready instance with
// its history in SQL, and its password nowhere.
func TestQuickStart(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 500 * time.Millisecond, JobLag: 100 * time.Millisecond, SettleLag: 100 * time.Millisecond})
	s.start(nil)
	for _, file := range []string{"cluster.json", "cluster.jsonc"} { // the second with its comments
		body, err := os.ReadFile("../../examples/" + file)
		if err != nil {
			t.Fatal(err)
		}
		s.publish(body)
	}
	s.wantState(provision.Ready, 2)
	s.wantOneEach(2)
	history := s.value(`select concat_ws('|', name, state, instance_status, job_status, progress, attempts,
		length(instance_id), length(job_id), error_code) from provisioning_history limit 1`)
	if history != "test-cluster|ready|normal|Completed|100|1|36|36" {
		t.Errorf("history: %s", history)
	}
	if logins := s.cloud.Stats().Logins; logins != 1 {
		t.Errorf("%d logins, want 1", logins)
	}
	for place, text := range map[string]string{"database": s.everything(), "log": s.log.String()} {
		if strings.Contains(text, "Test@123") || strings.Contains(text, ddsfake.DefaultPassword) {
			t.Errorf("a password is in the %s", place)
		}
	}
	if addresses := s.count(`select count(*) from instances where cardinality(addresses) > 0 and port = '8635'`); addresses != 2 {
		t.Errorf("%d instances have addresses, want 2", addresses)
	}
}

func TestAThousandAtOnce(t *testing.T) {
	t.Parallel()
	const n = 1000
	s := newSystem(t, ddsfake.Config{CreateLatency: 200 * time.Millisecond, JobMin: 2 * time.Second, JobLag: 100 * time.Millisecond, SettleLag: 100 * time.Millisecond})
	s.start(nil)
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = single(fmt.Sprintf("many-%d", i))
	}
	began := time.Now()
	s.publish(bodies...)
	s.wantState(provision.Ready, n)
	stats := s.cloud.Stats()
	t.Logf("%d requests ready after %v; calls to the cloud: %v", n, time.Since(began).Round(100*time.Millisecond), stats.Calls)
	s.wantOneEach(n)
	if stats.Logins != 1 || stats.CreatesReceived != n {
		t.Errorf("%d logins and %d creates, want 1 and %d", stats.Logins, stats.CreatesReceived, n)
	}
	s.eventually("all events published", func() bool { return s.count(`select count(*) from outbox`) == 0 })
	if strings.Contains(s.everything(), canary) || strings.Contains(s.log.String(), canary) {
		t.Error("a password was kept")
	}
}

// Whatever cannot be accepted is rejected and recorded with its reasons, and the
// 499 good messages of the same batch flow.
func TestBadMessagesAmongGoodOnes(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	w := s.start(map[string]string{"ACCEPT_UNKNOWN_FIELDS": "true"})
	s.publish(single("known"))
	s.wantState(provision.Ready, 1)
	known := s.value(`select request_id from requests`)
	w.stop() // so that all of them lie in one batch

	bad := map[string][]byte{
		"random bytes":   {0x00, 0xff, 0x13, 0x37, 0xfe, 0x80, 0x01},
		"a megabyte":     []byte(`{"name":"` + strings.Repeat("x", 1_000_000) + `"}`),
		"deep nesting":   []byte(strings.Repeat(`{"a":[`, 20_000)),
		"a NUL":          single("bad-nul", "note", "a\u0000b"),
		"a surrogate":    []byte(strings.Replace(string(single("bad-surrogate", "note", "HERE")), "HERE", `\ud800`, 1)),
		"a huge number":  []byte(strings.Replace(string(single("bad-number", "note", "HERE")), `"HERE"`, `1e400000`, 1)),
		"several rules":  single("1", "mode", "Sharded", "vpc_id", "x"),
		"restore point":  single("bad-restore", "restore_point", "x"),
		"a reserved tag": []byte(strings.Replace(string(single("bad-tag", "tags", "HERE")), `"HERE"`, `[{"key":"provision-by","value":"x"}]`, 1)),
	}
	var good [][]byte
	for i := range 499 {
		good = append(good, single(fmt.Sprintf("good-%d", i)))
	}
	s.publish(good[:250]...)
	for _, b := range bad {
		s.publish(b)
	}
	reuse := nats.NewMsg("dds.requests")
	reuse.Header.Set("Nats-Msg-Id", known)
	reuse.Data = single("another-body")
	if _, err := s.js.PublishMsg(t.Context(), reuse); err != nil {
		t.Fatal(err)
	}
	s.publish(good[250:]...)
	s.start(map[string]string{"ACCEPT_UNKNOWN_FIELDS": "true"})
	s.wantState(provision.Ready, 500)
	s.wantState(provision.Rejected, len(bad))
	s.wantOneEach(500)

	if got := s.value(`select code || ' ' || (select state from requests r where r.request_id = x.request_id) from rejections x where code = 'ID_REUSED'`); got != "ID_REUSED ready" {
		t.Errorf("the reused id: %s", got)
	}
	for name, want := range map[string]string{"1": `name: given "1"`, "bad-tag": "provision-by", "bad-restore": "restore_point", "bad-nul": "note", "bad-number": "note", "bad-surrogate": "note"} {
		if got := s.value(`select error_message from provisioning_history where state = 'rejected' and name = $1`, name); !strings.Contains(got, want) {
			t.Errorf("rejection of %s says %q, which lacks %q", name, got, want)
		}
	}
	if got := s.value(`select error_message from provisioning_history where name = '1'`); !strings.Contains(got, "mode:") || !strings.Contains(got, "vpc_id:") {
		t.Errorf("not all broken rules are told: %s", got)
	}
	s.eventually("the copies of all refused messages", func() bool {
		stream, err := s.js.Stream(t.Context(), "DDS_REJECTED")
		if err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs == uint64(len(bad)+1)
	})
	stream, err := s.js.Stream(t.Context(), "DDS_REJECTED")
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= uint64(len(bad)+1); seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(m.Data), canary) || strings.Contains(fmt.Sprint(m.Header), canary) {
			t.Errorf("copy %d holds a password: %v", seq, m.Header)
		}
		if m.Header.Get("Dds-Rejected-Reason") == "" {
			t.Errorf("copy %d has no reason: %v", seq, m.Header)
		}
	}
	if strings.Contains(s.everything(), canary) || strings.Contains(s.log.String(), canary) {
		t.Error("a password was kept")
	}
}

// Answers that are lost, in every way the cloud can lose them, end in one
// instance a request all the same.
func TestLostAnswersAreLookedForAndAdopted(t *testing.T) {
	t.Parallel()
	for _, dialect := range ddsfake.Dialects() {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, ddsfake.Config{Dialect: dialect, JobMin: 300 * time.Millisecond, JobLag: 50 * time.Millisecond, SettleLag: 50 * time.Millisecond, ListLag: 300 * time.Millisecond})
			s.start(map[string]string{"DDS_DIALECT": dialect})
			kinds := []ddsfake.Kind{"", ddsfake.DropAfter, ddsfake.DropBefore, ddsfake.TimeoutAfter, ddsfake.TimeoutBefore, ddsfake.ServerErrorAfter, ddsfake.ServerErrorBefore,
				ddsfake.BusyAfter, ddsfake.BusyBefore, ddsfake.CutShort, ddsfake.NoID, ddsfake.HangAfter, ddsfake.HangBefore, ddsfake.SlowBytes, ddsfake.HTMLAfter, ddsfake.EmptyBefore, ddsfake.TooMany, ddsfake.Throttled, ddsfake.StateConflict}
			for _, k := range kinds {
				if err := s.cloud.Script("create", ddsfake.Answer{Kind: k}); err != nil {
					t.Fatal(err)
				}
			}
			var bodies [][]byte
			for i := range kinds {
				bodies = append(bodies, single(fmt.Sprintf("lost-%d", i)))
			}
			s.publish(bodies...)
			s.wantState(provision.Ready, len(kinds))
			s.wantOneEach(len(kinds))
			adopted := s.count(`select count(*) from instances where adopted`)
			if executed := s.cloud.Stats().CreatesExecuted; executed != len(kinds) || adopted < 5 {
				t.Errorf("%d creates executed for %d requests, %d instances adopted", executed, len(kinds), adopted)
			}
			if n := s.count(`select count(*) from attempts where outcome is null`); n != 0 {
				t.Errorf("%d attempts have no outcome", n)
			}
		})
	}
}

func TestRefusalsAndFailedJobsSayWhatToDo(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 200 * time.Millisecond, JobLag: -1, SettleLag: -1})
	s.start(nil)
	s.publish(single("warm-up"))
	s.wantState(provision.Ready, 1)
	for _, a := range []ddsfake.Answer{{Kind: ddsfake.Forbidden}, {Kind: ddsfake.Arrears}, {Kind: ddsfake.JobFails}} {
		if err := s.cloud.Script("create", a); err != nil {
			t.Fatal(err)
		}
	}
	s.publish(single("refused-1"), single("refused-2"), single("refused-3"))
	s.wantState(provision.Failed, 3)
	for code, want := range map[string]string{"DBS.280032": "right to create", "DBS.280019": "settle the account", "": "delete it when you have seen it"} {
		got := s.value(`select error_message from provisioning_history where state = 'failed' and coalesce(error_code, '') = $1`, code)
		if !strings.Contains(got, want) {
			t.Errorf("%s: %q does not say %q", code, got, want)
		}
	}
	if n := s.count(`select count(*) from provisioning_history where state = 'failed' and instance_id is not null and job_status = 'Failed'`); n != 1 {
		t.Errorf("%d failed requests name their instance, want 1", n)
	}
}

func TestWhatNobodyServesWaitsAndSaysSo(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	s.start(nil)
	s.publish(single("elsewhere", "region", "zzz"), single("here"))
	s.wantState(provision.Ready, 1)
	if got := s.value(`select state || ': ' || error_message from provisioning_history where name = 'elsewhere'`); !strings.Contains(got, `pending: a worker that serves`) || !strings.Contains(got, `"zzz"`) {
		t.Errorf("it says %q", got)
	}
	s.start(map[string]string{"OS_REGION_NAME": "zzz", "WORKER_NAME": "other"})
	s.wantState(provision.Ready, 2)
}

// A worker that stops finishes what is in flight; one that starts goes on where
// the other stopped.
func TestStopAndGoOn(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{CreateLatency: 300 * time.Millisecond, JobMin: time.Second, JobLag: -1, SettleLag: -1})
	w := s.start(map[string]string{"CREATE_CONCURRENCY": "4"})
	var bodies [][]byte
	for i := range 30 {
		bodies = append(bodies, single(fmt.Sprintf("stop-%d", i)))
	}
	s.publish(bodies...)
	s.eventually("some calls", func() bool { return s.cloud.Stats().CreatesExecuted > 5 })
	w.stop()
	if n := s.count(`select count(*) from requests where state = 'creating'`); n != 0 {
		t.Errorf("%d requests are left in creating by a graceful stop", n)
	}
	s.start(map[string]string{"WORKER_NAME": "next"})
	s.wantState(provision.Ready, 30)
	s.wantOneEach(30)
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	w := s.start(nil)
	s.eventually("readiness", func() bool { return get(t, w, "/readyz") == http.StatusOK })
	if code := get(t, w, "/livez"); code != http.StatusOK {
		t.Errorf("/livez: %d", code)
	}
	s.publish(single("measured"))
	s.wantState(provision.Ready, 1)
	answer, err := http.Get("http://" + w.Addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`ddsworker_cloud_call_seconds_count{class="ok",operation="create"} 1`, `ddsworker_messages_total{result="accepted"} 1`,
		`ddsworker_live_requests{state="pending"} 0`, `ddsworker_cloud_call_seconds_count{class="ok",operation="login"} 1`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func get(t *testing.T, w *worker, path string) int {
	t.Helper()
	answer, err := http.Get("http://" + w.Addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.StatusCode
}
