package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

const mark = provision.TagRequest

// audit claims the next round, whether it is due or not.
func (d *db) audit() provision.AuditClaim {
	d.t.Helper()
	_, err := d.sql.Exec(d.t.Context(), `insert into audits (project_id, region) values ($1, $2)
		on conflict (project_id, region) do update set due_at = now()`, project, region)
	d.must(err)
	c, ok, err := d.ClaimAudit(d.t.Context(), served, time.Hour)
	d.must(err)
	if !ok {
		d.t.Fatal("no audit is due")
	}
	if _, again, err := d.ClaimAudit(d.t.Context(), served, time.Hour); again || err != nil {
		d.t.Fatalf("a project is audited twice at a time: %v, %v", again, err)
	}
	return c
}

// failedRequest is one that ended without an instance.
func (d *db) failedRequest(id string) (itsMark string) {
	d.t.Helper()
	d.accept(id)
	_, err := d.sql.Exec(d.t.Context(), `update requests set state = 'failed', finished_at = now(), sealed_password = null where request_id = $1`, id)
	d.must(err)
	return one[string](d, `select mark::text from requests where request_id = $1`, id)
}

func sighting(id, request, itsMark string) provision.Sighting {
	return provision.Sighting{Instance: provision.Instance{ID: id, Name: "name-" + request, Status: "normal", Tags: map[string]string{mark: itsMark}},
		Mark: itsMark, RequestID: request, Why: "because", Evidence: json.RawMessage(`{}`)}
}

var deleting = provision.OrphanRules{Policy: provision.DeleteOrphans, Relist: time.Minute, Retry: time.Hour}

// round records one sighting and returns what may be deleted then.
func (d *db) round(rules provision.OrphanRules, seen ...provision.Sighting) []provision.Orphan {
	d.t.Helper()
	c := d.audit()
	_, err := d.RecordSightings(d.t.Context(), c, seen)
	d.must(err)
	_, err = d.RecordSightings(d.t.Context(), c, seen) // its answer was lost
	d.must(err)
	var listed []string
	for _, s := range seen {
		listed = append(listed, s.Instance.ID)
	}
	due, err := d.FinishAudit(d.t.Context(), c, listed, rules, nil)
	d.must(err)
	return due
}

func (d *db) wantOrphan(id, state string) {
	d.t.Helper()
	if got := one[string](d, `select state from orphans where instance_id = $1`, id); got != state {
		d.t.Fatalf("orphan %s is %s, want %s", id, got, state)
	}
}

func TestMarkFacts(t *testing.T) {
	d := open(t)
	itsMark := d.failedRequest("a")
	d.accept("b")
	for _, c := range d.claim(time.Hour) {
		d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(c)}))
	}
	settled := one[time.Time](d, `update requests set settled_at = date_trunc('day', settled_at) where request_id = 'b' returning settled_at`)
	other := one[string](d, `select mark::text from requests where request_id = 'b'`)
	_, err := d.sql.Exec(t.Context(), `insert into instances (instance_id, request_id, project_id, name, adopted, status, gone_at) values
		('back', 'a', 'p', 'n', true, 'deleted', now() - interval '1 minute'), ('late', 'a', 'p', 'n', true, 'deleted', now())`)
	d.must(err)
	listed := []provision.Instance{{ID: "x", Tags: map[string]string{mark: itsMark}}, {ID: "i-b", Tags: map[string]string{mark: other}}, {ID: "y", Tags: map[string]string{mark: other}},
		{ID: "odd", Tags: map[string]string{mark: "no uuid"}}, {ID: "bare"},
		{ID: "back"}, {ID: "late", Tags: map[string]string{mark: itsMark}}}
	facts, err := d.MarkFacts(t.Context(), listed, time.Now().Add(-30*time.Second))
	d.must(err)
	for id, want := range map[string]provision.MarkFacts{
		"x":    {RequestID: "a", State: provision.Failed, Name: "name-a"},
		"i-b":  {RequestID: "b", State: provision.Building, Name: "name-b", Holds: "i-b", Recorded: true, Named: true, SettledAt: settled},
		"y":    {RequestID: "b", State: provision.Building, Name: "name-b", Holds: "i-b", SettledAt: settled},
		"back": {RequestID: "a", State: provision.Failed, Name: "name-a", Gone: true},
		"late": {RequestID: "a", State: provision.Failed, Name: "name-a", Recorded: true},
		"odd":  {},
		"bare": {},
	} {
		if facts[id] != want {
			t.Errorf("%s: %+v, want %+v", id, facts[id], want)
		}
	}
}

// Nothing is deleted before it was seen in two rounds and its quarantine is over,
// nor once anything that makes it an orphan has changed.
func TestWhenAnOrphanMayBeDeleted(t *testing.T) {
	d := open(t)
	itsMark := d.failedRequest("a")
	deleting.Installation = d.identity().Installation
	s := sighting("x", "a", itsMark)
	if due := d.round(deleting, s); len(due) != 0 {
		t.Fatalf("after one round: %+v", due)
	}
	long := deleting
	long.Quarantine = time.Hour
	if due := d.round(long, s); len(due) != 0 {
		t.Fatalf("in its quarantine: %+v", due)
	}
	due := d.round(deleting, s)
	if len(due) != 1 || due[0] != (provision.Orphan{InstanceID: "x", ProjectID: project, Mark: itsMark, RequestID: "a"}) {
		t.Fatalf("after three rounds: %+v", due)
	}
	intends := func(what string, want bool, o provision.Orphan, rules provision.OrphanRules) {
		t.Helper()
		ok, err := d.IntendDeletion(t.Context(), o, rules)
		d.must(err)
		if ok != want {
			t.Errorf("%s: intended %v", what, ok)
		}
	}
	change := func(sql string) { t.Helper(); _, err := d.sql.Exec(t.Context(), sql); d.must(err) }
	elsewhere, reporting, marked := deleting, deleting, due[0]
	elsewhere.Installation, reporting.Policy, marked.Mark = "00000000-0000-0000-0000-000000000000", provision.ReportOrphans, "00000000-0000-0000-0000-000000000000"
	intends("another installation", false, due[0], elsewhere)
	intends("another policy", false, due[0], reporting)
	intends("a longer quarantine", false, due[0], long)
	intends("another mark", false, marked, deleting)
	change(`update requests set state = 'pending', finished_at = null where request_id = 'a'`)
	intends("its request is retried", false, due[0], deleting)
	change(`update requests set state = 'failed', finished_at = now() where request_id = 'a'`)
	change(`insert into instances (instance_id, request_id, project_id, name, adopted, status) values ('x', 'a', 'p', 'n', true, 'normal')`)
	intends("it is recorded", false, due[0], deleting)
	change(`delete from instances`)
	intends("all holds", true, due[0], deleting)
	intends("it was asked for just now", false, due[0], deleting)
	if known, err := d.KnownInstances(t.Context(), []string{"x"}); err != nil || !known["x"] {
		t.Errorf("a look may adopt what is being deleted: %v, %v", known, err)
	}
	d.must(d.RecordDeletion(t.Context(), provision.Deletion{InstanceID: "x", Accepted: true, Delay: time.Hour}))
	if due := d.round(deleting, s); len(due) != 0 {
		t.Errorf("an accepted deletion is due again: %+v", due)
	}
	d.wantOrphan("x", "deleting")
	d.round(deleting)
	d.wantOrphan("x", "gone")
	d.wantEvents("a", "accepted:pending orphan:failed orphan:failed orphan:failed orphan:failed")

	// It comes back, and begins anew.
	if due := d.round(deleting, s); len(due) != 0 {
		t.Errorf("it is due at once: %+v", due)
	}
	d.wantOrphan("x", "quarantine")
}

// What is found by looks goes the same way; what is somebody's after all is no
// orphan; an unknown mark is never due.
func TestOtherOrphans(t *testing.T) {
	d := open(t)
	itsMark := d.failedRequest("a")
	deleting.Installation = d.identity().Installation
	_, err := d.sql.Exec(t.Context(), `insert into orphans (instance_id, project_id, name, mark, request_id, status, why) values
		('surplus', $1, 'name-a', $2, 'a', 'normal', 'by a look'), ('untagged', $1, 'name-a', null, 'a', 'normal', 'by a look')`, project, itsMark)
	d.must(err)
	unknown := sighting("odd", "", "no uuid")
	unknown.Unknown = true
	mine := sighting("surplus", "a", itsMark)
	for range 3 {
		c := d.audit()
		_, err := d.RecordSightings(t.Context(), c, []provision.Sighting{mine, unknown})
		d.must(err)
		due, err := d.FinishAudit(t.Context(), c, []string{"surplus", "untagged", "odd"}, deleting, nil)
		d.must(err)
		if len(due) > 1 || len(due) == 1 && due[0].InstanceID != "surplus" {
			t.Errorf("due: %+v", due)
		}
	}
	d.wantOrphan("odd", "unknown_mark")
	d.wantOrphan("untagged", "reported")

	// A list that failed changes nothing.
	c := d.audit()
	if due, err := d.FinishAudit(t.Context(), c, nil, deleting, &provision.CloudError{Op: "list instances", Class: provision.ClassServer, Message: "no\x00\xff"}); err != nil || due != nil {
		t.Errorf("%+v, %v", due, err)
	}
	d.wantOrphan("untagged", "reported")
	if got := one[string](d, `select problem from audits`); got == "" {
		t.Error("nobody is told")
	}

	// Its request found it after all.
	_, err = d.sql.Exec(t.Context(), `insert into instances (instance_id, request_id, project_id, name, adopted, status) values ('surplus', 'a', 'p', 'n', true, 'normal')`)
	d.must(err)
	c = d.audit()
	fresh, err := d.RecordSightings(t.Context(), c, []provision.Sighting{mine})
	d.must(err)
	_, err = d.FinishAudit(t.Context(), c, []string{"surplus", "untagged", "odd"}, deleting, nil)
	d.must(err)
	if len(fresh) != 0 {
		t.Errorf("recorded as new: %v", fresh)
	}
	d.wantOrphan("surplus", "explained")
	if counts, err := d.Orphans(t.Context()); err != nil || counts["explained"] != 2 || counts["reported"] != 1 {
		t.Errorf("counts: %v, %v", counts, err)
	}
}

// What is only to be reported is so from then on, and in its quarantine anew once it is
// an orphan again.
func TestAnOrphanThatIsOnlyToBeReported(t *testing.T) {
	d := open(t)
	itsMark := d.failedRequest("a")
	deleting.Installation = d.identity().Installation
	s := sighting("x", "a", itsMark)
	d.round(deleting, s)
	due := d.round(deleting, s)
	if len(due) != 1 {
		t.Fatalf("after two rounds: %+v", due)
	}
	doubtful := s
	doubtful.Unknown, doubtful.Why = true, "it may have taken the place of another"
	if due := d.round(deleting, doubtful); len(due) != 0 {
		t.Errorf("it may be deleted: %+v", due)
	}
	d.wantOrphan("x", "unknown_mark")
	if got := one[string](d, `select coalesce(error_message, '') from orphans`); got != doubtful.Why {
		t.Errorf("nobody is told why: %q", got)
	}
	if ok, err := d.IntendDeletion(t.Context(), due[0], deleting); ok || err != nil {
		t.Errorf("its deletion is intended: %v, %v", ok, err)
	}
	if due := d.round(deleting, s); len(due) != 0 {
		t.Errorf("it is due at once: %+v", due)
	}
	d.wantOrphan("x", "quarantine")
	if due := d.round(deleting, s); len(due) != 1 {
		t.Errorf("after two rounds more: %+v", due)
	}
	d.wantEvents("a", "accepted:pending orphan:failed orphan:failed")
}

// What was taken for gone and comes back is told once, and never due.
func TestWhatComesBackIsTold(t *testing.T) {
	d := open(t)
	itsMark := d.failedRequest("a")
	deleting.Installation = d.identity().Installation
	_, err := d.sql.Exec(t.Context(), `insert into instances (instance_id, request_id, project_id, name, adopted, status, gone_at) values ('back', 'a', 'p', 'n', true, 'deleted', now())`)
	d.must(err)
	back := sighting("back", "a", itsMark)
	back.Unknown = true
	for range 3 {
		if due := d.round(deleting, back); len(due) != 0 {
			t.Errorf("it may be deleted: %+v", due)
		}
	}
	d.wantOrphan("back", "unknown_mark")
	d.wantEvents("a", "accepted:pending orphan:failed")
}
