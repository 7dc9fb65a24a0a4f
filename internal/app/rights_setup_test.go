package app_test

import (
	"strings"
	"testing"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
	"ddsworker/migrations"
)

// A worker that may make nothing says what is missing and what to do, makes
// nothing, and goes on once it is there.
func TestWithoutStreamsAWorkerSaysWhatToDo(t *testing.T) {
	s := newSecured(t)
	owner := s.as("owner")["DATABASE_URL"]
	if _, err := store.Migrate(t.Context(), owner, migrations.Files); err != nil {
		t.Fatal(err)
	}
	runSQL(t, owner, "grants.sql")
	w := s.start(s.as("worker"))
	s.says("stream DDS_REQUESTS is missing: run `worker migrate`")
	if streams := s.nats.streams(t); len(streams) != 0 {
		t.Errorf("it made %d streams", len(streams))
	}
	s.migrate()
	s.eventually("readiness", func() bool { return get(t, w, "/readyz") == 200 })
	s.enqueue("create", "--wait", "../../examples/single-node.json")
	s.wantState(provision.Ready, 1)
}

// The same holds for the tables. The superuser, who might make some, makes none
// either.
func TestWithoutTablesAWorkerSaysWhatToDo(t *testing.T) {
	s := newSecured(t)
	s.start(s.as("worker"))
	s.says("run 'worker migrate'")
	if err := store.Check(t.Context(), s.db.Config().ConnString(), migrations.Files); err == nil || !strings.Contains(err.Error(), "run 'worker migrate'") {
		t.Errorf("as the superuser: %v", err)
	}
	if n := s.count(`select count(*) from pg_class where relnamespace = 'public'::regnamespace`); n != 0 {
		t.Errorf("%d tables and indexes were made", n)
	}
}

// says waits until the worker's log has these words.
func (s *secured) says(words string) {
	s.t.Helper()
	s.eventually("the log says "+words, func() bool { return strings.Contains(s.log.String(), words) })
}
