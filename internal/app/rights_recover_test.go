package app_test

import (
	"strings"
	"testing"

	"ddsworker/internal/provision"
)

// The owner's rights suffice to recover, and a worker's to see that it must not
// act, over TLS.
func TestLeastRightsSufficeToRecover(t *testing.T) {
	s := newSecured(t)
	s.migrate()
	w := s.start(s.as("worker"))
	s.enqueue("create", "--wait", "--id", "first", "../../examples/single-node.json")
	if _, err := s.db.Exec(t.Context(), `update installation set epoch = epoch + 1`); err != nil {
		t.Fatal(err)
	}
	s.standsStill(w, "belongs to epoch")
	mixed := s.as("owner")
	mixed["DATABASE_URL"] = s.as("worker")["DATABASE_URL"]
	if _, err := s.operator(mixed).Recover(t.Context()); err == nil || !strings.Contains(err.Error(), "the rights of its owner") {
		t.Errorf("with a worker's rights: %v", err)
	}
	if r := s.recovers(s.as("owner")); r.Epoch != 3 || len(r.Lost) != 0 {
		t.Errorf("recovered: %+v", r)
	}
	s.eventually("readiness", func() bool { return get(t, w, "/readyz") == 200 })
	s.enqueue("create", "--wait", "--id", "second", "../../examples/cluster.json")
	s.wantState(provision.Ready, 2)
	if text := s.nats.log.String(); text != "" {
		t.Errorf("NATS refused something:\n%s", text)
	}
}
