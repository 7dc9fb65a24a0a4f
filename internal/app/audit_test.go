package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

// audited is a system whose audits are quick, and whose lists a test may change on
// their way: edit is given the query and the answer.
type audited struct {
	*system
	edit atomic.Pointer[func(query map[string]string, list map[string]any)]
}

func newAudited(t *testing.T, cloud ddsfake.Config) *audited {
	t.Helper()
	if cloud.JobMin == 0 {
		cloud.JobMin = 100 * time.Millisecond
	}
	cloud.JobLag, cloud.SettleLag, cloud.DeleteTime = -1, -1, -1
	s := &audited{system: newSystem(t, cloud)}
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		edit := s.edit.Load()
		if edit == nil || r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/instances") {
			s.cloud.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		s.cloud.ServeHTTP(answer, r)
		body := map[string]any{}
		if answer.Code == http.StatusOK && json.Unmarshal(answer.Body.Bytes(), &body) == nil {
			query := map[string]string{}
			for key := range r.URL.Query() {
				query[key] = r.URL.Query().Get(key)
			}
			(*edit)(query, body)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(answer.Code)
		_ = json.NewEncoder(w).Encode(body)
	}))
	t.Cleanup(between.Close)
	s.settings["DDS_ENDPOINT"] = between.URL
	s.settings["AUDIT_INTERVAL"], s.settings["ORPHAN_QUARANTINE"], s.settings["ORPHAN_POLICY"] = "200ms", "500ms", "report"
	return s
}

func (s *audited) edits(edit func(query map[string]string, list map[string]any)) {
	if edit == nil {
		s.edit.Store(nil)
		return
	}
	s.edit.Store(&edit)
}

// ready publishes requests and returns the instances of them, by name, once they
// are ready.
func (s *audited) ready(names ...string) map[string]string {
	s.t.Helper()
	before := s.count(`select count(*) from requests`)
	for _, name := range names {
		s.publish(single(name))
	}
	s.wantState(provision.Ready, before+len(names))
	instances := map[string]string{}
	for _, i := range s.cloud.Instances() {
		instances[i.Name] = i.ID
	}
	return instances
}

// disown makes an instance a surplus one: its request failed, and does not have it.
func (s *audited) disown(instance string) {
	s.t.Helper()
	s.change(instance, `update requests set state = 'failed' where request_id = (select request_id from instances where instance_id = $1)`,
		`delete from jobs where instance_id = $1`, `delete from instances where instance_id = $1`)
}

// replace lets an instance stand for the one that its request has, which is gone.
func (s *audited) replace(instance string) {
	s.t.Helper()
	s.change(instance, `delete from jobs where instance_id = $1`, `update instances set instance_id = 'instead-of-' || $1 where instance_id = $1`)
}

func (s *audited) change(instance string, statements ...string) {
	s.t.Helper()
	for _, sql := range statements {
		if _, err := s.db.Exec(s.t.Context(), sql, instance); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *audited) wantOrphan(instance, state string) {
	s.t.Helper()
	s.eventually("orphan "+instance+" "+state, func() bool {
		return s.count(`select count(*) from orphans where instance_id = $1 and state = $2`, instance, state) == 1
	})
}

// rounds waits until so many audits more have read the list whole.
func (s *audited) rounds(n int) {
	s.t.Helper()
	round := s.count(`select coalesce(max(round), 0) from audits`)
	s.eventually("more audits", func() bool {
		return s.count(`select coalesce(max(round) filter (where finished_at > begun_at), 0) from audits`) >= round+n
	})
}

func (s *audited) lives(instance string) bool {
	for _, i := range s.cloud.Instances() {
		if i.ID == instance {
			return i.DeletedAt == nil
		}
	}
	return false
}

// Each policy does what it says with orphans, and with nothing else.
func TestOrphanPolicies(t *testing.T) {
	t.Parallel()
	s := newAudited(t, ddsfake.Config{})
	w := s.start(nil)
	i := s.ready("handed-out", "surplus-1", "surplus-2", "unknown-1", "replaced", "copied")
	s.disown(i["surplus-1"])
	s.disown(i["surplus-2"])
	s.disown(i["unknown-1"])
	s.replace(i["replaced"])
	s.disown(i["copied"])
	if _, err := s.db.Exec(t.Context(), `update requests set settled_at = now() - interval '1 year' where name = 'copied'`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Exec(t.Context(), `delete from marks where request_id in (select request_id from requests where name = 'unknown-1')`); err != nil {
		t.Fatal(err)
	}
	s.wantOrphan(i["surplus-1"], "reported")
	s.wantOrphan(i["surplus-2"], "reported")
	for _, name := range []string{"unknown-1", "replaced", "copied"} {
		s.wantOrphan(i[name], "unknown_mark")
	}
	s.rounds(2)
	if got := s.value(`select concat_ws('|', name, why, evidence->'request'->>'state', evidence->'listed'->>'id' = instance_id, rounds >= 2, region, mark is not null)
		from orphans where instance_id = $1`, i["surplus-1"]); got != "surplus-1|its request is failed and does not have it|failed|t|t|aaa|t" {
		t.Errorf("the orphan: %s", got)
	}
	if got := s.value(`select string_agg(detail, '; ' order by id) from events where kind = 'orphan' and state = 'failed' and instance_id = $1`, i["surplus-1"]); !strings.HasPrefix(got, "its request is failed") || !strings.HasSuffix(got, "its quarantine is over: reported") {
		t.Errorf("its events: %s", got)
	}
	if n := strings.Count(s.log.String(), "found an instance of nobody's"); n != 5 {
		t.Errorf("%d lines tell of five orphans", n)
	}
	if text := metricsOf(t, w); !strings.Contains(text, `ddsworker_orphans{state="reported"} 2`) || !strings.Contains(text, `ddsworker_orphans{state="unknown_mark"} 3`) {
		t.Error("the metrics do not tell")
	}
	if strings.Contains(s.everything(), canary) {
		t.Error("a password was kept")
	}

	w.stop()
	w = s.start(map[string]string{"ORPHAN_POLICY": "keep"})
	s.wantOrphan(i["surplus-1"], "kept")
	w.stop()
	if n := s.cloud.Stats().Calls["delete"]; n != 0 {
		t.Errorf("%d deletions under policies that delete nothing", n)
	}

	if _, err := s.db.Exec(t.Context(), `update orphans set policy = 'keep' where instance_id = $1`, i["surplus-2"]); err != nil {
		t.Fatal(err)
	}
	s.start(map[string]string{"ORPHAN_POLICY": "delete"})
	s.wantOrphan(i["surplus-1"], "gone")
	s.rounds(2)
	s.wantOrphan(i["surplus-2"], "kept")
	s.wantOrphan(i["unknown-1"], "unknown_mark")
	for name, lives := range map[string]bool{"handed-out": true, "surplus-1": false, "surplus-2": true, "unknown-1": true, "replaced": true, "copied": true} {
		if s.lives(i[name]) != lives {
			t.Errorf("%s lives: %v", name, !lives)
		}
	}
	if n := s.cloud.Stats().Calls["delete"]; n != 1 {
		t.Errorf("%d deletions, want 1", n)
	}
	if got := s.value(`select concat_ws('|', deletions, rounds >= 2, gone_at is not null) from orphans where instance_id = $1`, i["surplus-1"]); got != "1|t|t" {
		t.Errorf("the deleted orphan: %s", got)
	}
}

// The tags are read again right before a deletion; the cloud's refusal is kept, and
// asked again later.
func TestBeforeAnOrphanIsDeleted(t *testing.T) {
	t.Parallel()
	s := newAudited(t, ddsfake.Config{})
	s.start(map[string]string{"ORPHAN_POLICY": "delete"})
	i := s.ready("changes", "is-busy")
	s.edits(func(query map[string]string, list map[string]any) {
		if query["id"] != i["changes"] {
			return
		}
		for _, item := range list["instances"].([]any) {
			item.(map[string]any)["tags"] = []any{map[string]string{"key": "owner", "value": "somebody"}}
		}
	})
	s.disown(i["changes"])
	s.wantOrphan(i["changes"], "explained")
	if n := s.cloud.Stats().Calls["delete"]; n != 0 {
		t.Errorf("%d deletions of what has other tags", n)
	}
	s.edits(nil)
	// The list still shows its tags, so it is an orphan anew, and keeps its row.
	if err := s.cloud.Script("delete", ddsfake.Answer{Kind: ddsfake.StateConflict}, ddsfake.Answer{Kind: ddsfake.StateConflict}); err != nil {
		t.Fatal(err)
	}
	s.disown(i["is-busy"])
	s.eventually("the refusal of both", func() bool {
		return s.count(`select count(*) from orphans where state = 'deleting' and error_code = 'DBS.201014' and deletions = 1`) == 2
	})
	s.rounds(2)
	if n := s.cloud.Stats().Calls["delete"]; n != 2 {
		t.Errorf("%d deletions, want that one that was refused waits", n)
	}
	if _, err := s.db.Exec(t.Context(), `update orphans set delete_at = now()`); err != nil {
		t.Fatal(err)
	}
	s.wantOrphan(i["changes"], "gone")
	s.wantOrphan(i["is-busy"], "gone")
}

// A list that cannot be read whole concludes nothing: neither that something is an
// orphan nor that one is gone.
func TestAListThatIsNotWhole(t *testing.T) {
	t.Parallel()
	s := newAudited(t, ddsfake.Config{})
	w := s.start(nil)
	i := s.ready("first", "second")
	s.disown(i["first"])
	s.wantOrphan(i["first"], "reported")
	s.edits(func(query map[string]string, list map[string]any) {
		if query["name"] == "" && query["id"] == "" {
			list["total_count"] = 3 // one of them is never shown
		}
	})
	s.eventually("the audit says so", func() bool {
		return s.count(`select count(*) from audits where problem like '%the list changed while it was read%'`) == 1
	})
	s.disown(i["second"])
	if got := s.value(`select string_agg(instance_id || state, ' ') from orphans`); got != i["first"]+"reported" {
		t.Errorf("orphans: %s", got)
	}
	if answer := readyz(t, w); !strings.Contains(answer, `"part":"audit"`) {
		t.Errorf("/readyz does not tell: %s", answer)
	}
	s.edits(nil)
	if _, err := s.db.Exec(t.Context(), `update audits set due_at = now()`); err != nil {
		t.Fatal(err)
	}
	s.wantOrphan(i["second"], "reported")
	s.eventually("readiness", func() bool { return get(t, w, "/readyz") == 200 })
}

// An instance that was taken for gone and is listed all the same is told, and left alone.
func TestWhatWasTakenForGoneAndIsListed(t *testing.T) {
	t.Parallel()
	s := newAudited(t, ddsfake.Config{JobMin: time.Minute})
	s.settings["ORPHAN_POLICY"] = "delete"
	s.start(nil)
	s.publish(single("hidden"))
	s.wantState(provision.Building, 1)
	instance := s.value(`select instance_id from instances`)
	s.edits(func(query map[string]string, list map[string]any) {
		if query["id"] == instance {
			list["instances"], list["total_count"] = []any{}, 0
		}
	})
	if _, err := s.cancel("hidden"); err != nil {
		t.Fatal(err)
	}
	s.wantEnd("hidden", provision.Cancelled, "")
	s.wantOrphan(instance, "unknown_mark")
	s.rounds(3)
	if !s.lives(instance) {
		t.Error("it is deleted")
	}
	if n := s.count(`select count(*) from events where kind = 'orphan' and state = 'cancelled' and instance_id = $1 and detail like '%taken for gone%'`, instance); n != 1 {
		t.Errorf("%d events tell of it", n)
	}
}

// What a list hid for longer than VISIBILITY_WINDOW is found, told, and never
// handed out.
func TestAListThatLagsLongerThanTheWindow(t *testing.T) {
	t.Parallel()
	s := newAudited(t, ddsfake.Config{})
	s.start(nil)
	s.ready("warm-up")
	if err := s.cloud.Script("create", ddsfake.Answer{Kind: ddsfake.DropAfter, ListLag: 20 * time.Second}); err != nil {
		t.Fatal(err)
	}
	s.publish(single("hidden"))
	s.wantState(provision.Ready, 2)
	s.eventually("the surplus is told", func() bool {
		return s.count(`select count(*) from orphans o join requests r using (request_id) where o.state = 'reported' and r.name = 'hidden'`) == 1
	})
	surplus := s.value(`select instance_id from orphans`)
	if s.count(`select count(*) from instances where instance_id = $1`, surplus) != 0 || s.count(`select count(*) from provisioning_history where instance_id = $1`, surplus) != 0 {
		t.Error("the surplus was handed out")
	}
	if n := len(s.cloud.Instances()); n != 3 {
		t.Errorf("%d instances, want 3: this test wants the first to be hidden", n)
	}
}

func metricsOf(t *testing.T, w *worker) string {
	t.Helper()
	answer, err := http.Get("http://" + w.Addr + "/metrics")
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
