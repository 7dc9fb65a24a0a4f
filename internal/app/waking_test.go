package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/dds/ddsfake"
)

// create publishes a request and waits until its instance is being built.
func (s *system) create(name string) {
	s.t.Helper()
	s.publish(single(name))
	s.eventually(name+" to be built", func() bool {
		return s.count(`select count(*) from requests where name = $1 and state = 'building'`, name) == 1
	})
}

// wantWoken publishes requests one after the other, each when the workers have found
// nothing more to do. Those that another worker claimed than took them in must usually
// be claimed in less than half of the second after which workers look by themselves.
func (s *system) wantWoken(prefix string) {
	s.t.Helper()
	for n := range 12 {
		s.create(fmt.Sprintf("%s-%d", prefix, n))
	}
	var took []float64
	s.must(s.db.QueryRow(s.t.Context(), `
		select coalesce(array_agg(ms order by ms), '{}') from (
			select extract(epoch from intended_at - accepted_at) * 1000 as ms
			from attempts join requests using (request_id) where name like $1 || '%') t
		where ms > 0`, prefix).Scan(&took))
	s.t.Logf("%s: claimed after %.1f ms", prefix, took)
	if len(took) < 3 || took[len(took)/2] > 500 {
		s.t.Errorf("%s: want some, and claimed in less than half a second", prefix)
	}
}

// The workers share the stream, and one of them has no room for a call.
func TestWhatHasNoRoomWakesAnotherWorker(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: time.Hour, JobLag: -1, SettleLag: -1})
	var hanging atomic.Int32
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/instances") {
			_, _ = io.Copy(io.Discard, r.Body) // or nobody notices that the caller is gone
			hanging.Add(1)
			<-r.Context().Done()
			return
		}
		s.cloud.ServeHTTP(w, r)
	}))
	t.Cleanup(gateway.Close)
	s.backlog(ddsfake.DefaultProjectID, 0)
	s.start(map[string]string{"WORKER_NAME": "full", "DDS_ENDPOINT": gateway.URL, "CREATE_CONCURRENCY": "1", "CALL_TIMEOUT": "5m", "GRACE": "100ms"})
	s.publish(single("hangs"))
	s.eventually("a call that hangs", func() bool { return hanging.Load() == 1 })
	s.start(map[string]string{"WORKER_NAME": "free"})
	const listening = `from pg_stat_activity where datname = current_database() and query = 'listen ddsworker' and state = 'idle'`
	bothListen := func() bool { return s.count(`select count(*) `+listening) == 2 }
	s.eventually("workers that listen", bothListen)
	s.wantWoken("woken")

	_, err := s.db.Exec(t.Context(), `select pg_terminate_backend(pid, 60000) `+listening)
	s.must(err)
	s.eventually("workers that listen again", bothListen)
	s.wantWoken("again")
	if hanging.Load() != 1 {
		t.Errorf("%d calls of the worker that has room for one", hanging.Load())
	}
}

// What is claimed as it is taken in is nobody else's affair. A request may come just
// while the creator looks for what is due, and then others are told.
func TestWhatIsClaimedAtOnceWakesNobody(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: time.Hour, JobLag: -1, SettleLag: -1})
	s.backlog(ddsfake.DefaultProjectID, 0)
	s.start(nil)
	conn, err := pgx.Connect(t.Context(), s.settings["DATABASE_URL"])
	s.must(err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	_, err = conn.Exec(t.Context(), `listen ddsworker`)
	s.must(err)
	const n = 10
	for i := range n {
		s.create(fmt.Sprintf("alone-%d", i))
	}
	_, err = s.db.Exec(t.Context(), `notify ddsworker, 'the end'`)
	s.must(err)
	told := 0
	for ; ; told++ {
		word, err := conn.WaitForNotification(t.Context())
		s.must(err)
		if word.Payload == "the end" {
			break
		}
	}
	if told > n/2 {
		t.Errorf("others were woken %d times for %d requests that were claimed at once", told, n)
	}
}
