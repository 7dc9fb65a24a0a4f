package app_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/app"
	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

// operator runs a command of an operator on the system.
func (s *system) operator(overrides map[string]string) *app.App {
	s.t.Helper()
	return &app.App{Config: s.config(overrides), Log: slog.New(slog.NewTextHandler(s.log, nil))}
}

func (s *system) recovers(overrides map[string]string) provision.Recovered {
	s.t.Helper()
	r, err := s.operator(overrides).Recover(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// backup is a copy of the database as it is now.
func (s *system) backup() string {
	s.t.Helper()
	copied := env.CopyPostgres(s.t, s.settings["DATABASE_URL"])
	s.db.Reset()
	return copied
}

// anotherNATS is a server beside the system's own.
func anotherNATS(t *testing.T) string {
	t.Helper()
	n, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	n.Start()
	t.Cleanup(func() { n.Shutdown(); n.WaitForShutdown() })
	if !n.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS does not start")
	}
	return n.ClientURL()
}

// use lets the checks ask another database.
func (s *system) use(database string) {
	s.t.Helper()
	db, err := pgxpool.New(s.t.Context(), database)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(db.Close)
	s.db = db
	s.settings["DATABASE_URL"] = database
}

// standsStill waits until the worker says why it must not act.
func (s *system) standsStill(w *worker, words string) {
	s.t.Helper()
	var answer string
	s.eventually("the worker says "+words, func() bool {
		answer = readyz(s.t, w)
		return strings.Contains(answer, words)
	})
	for _, want := range []string{`"ready":false`, `"part":"standing"`, "`worker recover`", "`worker adopt --as-new`"} {
		if !strings.Contains(answer, want) {
			s.t.Errorf("/readyz lacks %s: %s", want, answer)
		}
	}
}

func readyz(t *testing.T, w *worker) string {
	t.Helper()
	answer, err := http.Get("http://" + w.Addr + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func named(n int, prefix string) (bodies [][]byte) {
	for i := range n {
		bodies = append(bodies, single(fmt.Sprint(prefix, i)))
	}
	return bodies
}

// A database that was restored from a backup makes no call. Once it is said to be
// the rightful one it finishes what it knows, with no instance twice, and tells
// what it lost.
func TestARestoredDatabase(t *testing.T) {
	t.Parallel()
	const before, after = 5, 3
	for _, tt := range []struct {
		dialect string
		events  bool // the stream of them is still there
		ends    bool // without anybody's help
	}{{ddsfake.Huawei, true, true}, {ddsfake.Huawei, false, true}, {ddsfake.FlexibleEngine, true, true}, {ddsfake.FlexibleEngine, false, false}} {
		t.Run(fmt.Sprintf("%s, events %v", tt.dialect, tt.events), func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, ddsfake.Config{Dialect: tt.dialect, JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
			s.settings["DDS_DIALECT"] = tt.dialect
			w := s.start(map[string]string{"OS_PASSWORD": "wrong"})
			s.publish(named(before, "before-")...)
			s.wantState(provision.Pending, before)
			w.stop()
			backup := s.backup()
			w = s.start(map[string]string{"WORKER_NAME": "second"})
			s.publish(named(after, "after-")...)
			s.wantState(provision.Ready, before+after)
			s.eventually("all events published", func() bool { return s.count(`select count(*) from outbox`) == 0 })
			w.stop()

			s.use(backup)
			if !tt.events {
				if err := s.js.DeleteStream(t.Context(), "DDS_EVENTS"); err != nil {
					t.Fatal(err)
				}
			}
			for what, err := range map[string]error{
				"cancel": s.operator(nil).Cancel(t.Context(), []string{"any"}, "tester", nil),
				"retry":  s.operator(nil).Retry(t.Context(), []string{"any"}, provision.Secret{}, "tester", nil),
			} {
				if err == nil || !strings.Contains(err.Error(), "restored or copied") || !strings.Contains(err.Error(), "`worker recover`") {
					t.Errorf("%s before the recovery: %v", what, err)
				}
			}
			calls := fmt.Sprint(s.cloud.Stats().Calls)
			w = s.start(map[string]string{"WORKER_NAME": "third"})
			s.standsStill(w, "restored or copied")
			waiting := s.publish(single("request-last"))
			if now := fmt.Sprint(s.cloud.Stats().Calls); now != calls {
				t.Errorf("it calls: %s, before it %s", now, calls)
			}
			r := s.recovers(nil)
			if tt.events && (r.Adopted != before || r.LookFirst != 0 || len(r.Lost) != after) || !tt.events && (r.Adopted != 0 || r.LookFirst != before || len(r.Lost) != 0) {
				t.Errorf("recovered: %+v", r)
			}
			if r.Since.IsZero() == !tt.events {
				t.Errorf("nobody can tell what happened since %v", r.Since)
			}
			if tt.events {
				s.wantState(provision.Rejected, after)
				if got := s.value(`select string_agg(distinct error_code || ': ' || error_message, '; ') from provisioning_history where state = 'rejected'`); !strings.Contains(got, "LOST: database: given a backup from before this request; it had come to ready with instance ") {
					t.Errorf("what is lost is told as %s", got)
				}
			}
			s.eventually("the message that waited is taken", func() bool {
				return s.count(`select count(*) from requests where stream_sequence = $1`, waiting[0]) == 1
			})
			executed := before + after
			if tt.ends {
				s.wantState(provision.Ready, before+1)
				executed++
			} else {
				s.eventually("they ask for an explanation", func() bool {
					return s.count(`select count(*) from requests where name like 'before-%' and waiting_for like 'an explanation for%'`) == before
				})
				s.wantState(provision.Ready, 1)
				executed++
			}
			s.eventually("all events published", func() bool { return s.count(`select count(*) from outbox`) == 0 })
			if got := s.cloud.Stats().CreatesExecuted; got != executed {
				t.Errorf("%d creates were executed, want %d", got, executed)
			}
			if n := s.count(`select count(*) from requests where may_have_run and state not in ('pending', 'creating')`); n != 0 {
				t.Errorf("%d requests that went on may still have run", n)
			}
			s.eventually("readiness", func() bool { return get(t, w, "/readyz") == 200 })
		})
	}
}

// Ids do not tell what a backup has: what had lower ones and was committed after it is
// lost as well, and told; and an operator's wish after the restore hides nothing.
func TestWhatWasCommittedAfterTheBackupIsTold(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	w := s.start(nil)
	s.publish(single("late"))
	s.wantState(provision.Ready, 1)
	s.publish(single("early"))
	s.wantState(provision.Ready, 2)
	s.eventually("all events published", func() bool { return s.count(`select count(*) from outbox`) == 0 })
	w.stop()
	s.use(s.backup())
	late := s.value(`select request_id from requests where name = 'late'`)
	for _, table := range []string{"jobs", "instances", "attempts", "events", "marks", "requests"} {
		if _, err := s.db.Exec(t.Context(), `delete from `+table+` where request_id = $1`, late); err != nil {
			t.Fatal(err)
		}
	}
	if r := s.recovers(nil); len(r.Lost) != 1 || r.Lost[0].RequestID != late || r.Lost[0].InstanceID == "" || !r.Since.IsZero() {
		t.Errorf("recovered: %+v", r)
	}
	if r := s.recovers(nil); len(r.Lost) != 0 || r.Epoch != 3 {
		t.Errorf("recovered again: %+v", r)
	}
	s.start(map[string]string{"WORKER_NAME": "second"})
	s.publish(single("late"))
	s.wantState(provision.Ready, 2)
}

// A copy makes no call while the original works, and is told so by either command
// that would harm the original; with an identity of its own it works beside it.
func TestACopyBesideItsOriginal(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	w := s.start(map[string]string{"OS_PASSWORD": "wrong"})
	s.publish(named(3, "original-")...)
	s.wantState(provision.Pending, 3)
	w.stop()
	originalDB := s.db
	copied := s.backup()
	s.start(map[string]string{"WORKER_NAME": "second"})

	cloud := ddsfake.New(ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	fake := httptest.NewServer(cloud)
	t.Cleanup(fake.Close)
	s.use(copied)
	s.settings["DDS_ENDPOINT"], s.settings["OS_AUTH_URL"] = fake.URL, fake.URL
	w = s.start(map[string]string{"WORKER_NAME": "copy"})
	s.standsStill(w, "restored or copied")
	w.stop()
	if _, _, err := s.operator(nil).AdoptAsNew(t.Context()); err == nil || !strings.Contains(err.Error(), "a NATS of its own") {
		t.Errorf("it takes the original's streams: %v", err)
	}
	if err := s.operator(nil).Migrate(t.Context(), false); err == nil || !strings.Contains(err.Error(), "restored or copied") {
		t.Errorf("migrate: %v", err)
	}

	s.settings["NATS_URL"] = anotherNATS(t)
	w = s.start(map[string]string{"WORKER_NAME": "copy"})
	s.standsStill(w, "restored or copied")
	id, ended, err := s.operator(nil).AdoptAsNew(t.Context())
	if err != nil || ended != 3 || id.Epoch != 1 {
		t.Fatalf("%+v, %d ended, %v", id, ended, err)
	}
	nc, err := nats.Connect(s.settings["NATS_URL"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if s.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	s.publish(single("of-the-copy"))
	s.wantState(provision.Ready, 1)
	s.wantState(provision.Failed, 3)
	if n := s.count(`select count(*) from provisioning_history where error_code = 'COPIED' and error_message like '%under a new id%'`); n != 3 {
		t.Errorf("%d requests say that they are copied, want 3", n)
	}
	if n := cloud.Stats().CreatesExecuted; n != 1 {
		t.Errorf("the copy created %d, want 1", n)
	}
	w.stop()
	s.db = originalDB
	s.wantState(provision.Ready, 3)
	s.wantOneEach(3)
	if s.value(`select id::text from installation`) == id.Installation {
		t.Error("both have one identity")
	}
}

// Whatever shows that the database is not the rightful one stops a worker that
// runs, and it goes on by itself when that is settled.
func TestAWorkerStopsActing(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	w := s.start(nil)
	ready := func(n int) { t.Helper(); s.publish(single(fmt.Sprint("request-", n))); s.wantState(provision.Ready, n) }
	ready(1)
	for i, epochs := range []int{1, -1} { // somebody recovers it elsewhere; and takes that back
		if _, err := s.db.Exec(t.Context(), `update installation set epoch = epoch + $1`, epochs); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			s.standsStill(w, "belongs to epoch")
			s.publish(single("request-waits"))
		}
	}
	s.wantState(provision.Ready, 2)
	s.eventually("readiness", func() bool { return get(t, w, "/readyz") == 200 })

	// A replica that lost the newest events took over.
	s.eventually("all events published", func() bool { return s.count(`select count(*) from outbox`) == 0 })
	lost := nats.NewMsg("dds.events.lost")
	lost.Data = fmt.Appendf(nil, `{"id": %d, "request_id": "lost", "kind": "building", "state": "building", "instance_id": "i-lost", "at": "2026-01-01T00:00:00Z"}`,
		s.count(`select max(id) from events`)+7)
	if _, err := s.js.PublishMsg(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	s.standsStill(w, "lost something when a replica took over")
	r := s.recovers(nil)
	if r.Epoch != 2 || len(r.Lost) != 1 || r.Lost[0].InstanceID != "i-lost" {
		t.Errorf("recovered: %+v", r)
	}
	ready(3)
	s.eventually("readiness", func() bool { return get(t, w, "/readyz") == 200 })
	if got := s.value(`select epoch || ' ' || (home <> '')::text || ' ' || (recovered_at is not null)::text from installation`); got != "2 true true" {
		t.Errorf("the installation: %s", got)
	}
	if n := strings.Count(s.log.String(), "part=standing"); n > 4 {
		t.Errorf("%d lines tell of two standstills", n)
	}
}

// Neither a replica that took over without a loss nor streams that are made anew
// need anybody.
func TestWhatNeedsNobody(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	w := s.start(nil)
	s.publish(single("request-1"))
	s.wantState(provision.Ready, 1)
	w.stop()
	if _, err := s.db.Exec(t.Context(), `update installation set timeline = '00000000'`); err != nil {
		t.Fatal(err)
	}
	w = s.start(map[string]string{"WORKER_NAME": "second"})
	s.publish(single("request-2"))
	s.wantState(provision.Ready, 2)
	if s.count(`select count(*) from installation where timeline = '00000000'`) != 0 {
		t.Error("the new timeline is not noted")
	}
	for _, name := range []string{"DDS_REQUESTS", "DDS_REJECTED", "DDS_EVENTS"} {
		if err := s.js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	s.eventually("new streams", func() bool {
		info, err := s.js.Stream(t.Context(), "DDS_EVENTS")
		return err == nil && info.CachedInfo().Config.Metadata["ddsworker-epoch"] == "1"
	})
	s.publish(single("request-3"))
	s.wantState(provision.Ready, 3)
	s.wantOneEach(3)
	w.stop()
}
