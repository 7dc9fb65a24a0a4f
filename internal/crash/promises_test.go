package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"ddsworker/internal/provision"
)

// ledger is what reached the cloud, whoever sent it.
type ledger struct{ calls []*sent }

// sent is one create call.
type sent struct {
	name, mark string
	request    string    // what tells requests of one name apart where there are no tags
	at, ended  time.Time // ended is zero while its answer is not there
	err        error
}

func (l *ledger) send(body []byte) *sent {
	var b struct {
		Name  string                        `json:"name"`
		Group string                        `json:"security_group_id"`
		Tags  []struct{ Key, Value string } `json:"tags"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		panic(err) // the cloud would not take it either
	}
	s := &sent{name: b.Name, request: b.Group, at: time.Now()}
	for _, tag := range b.Tags {
		if tag.Key == provision.TagRequest {
			s.mark = tag.Value
		}
	}
	l.calls = append(l.calls, s)
	return s
}

// mayHaveRun reports whether the call's own answer leaves it open that it ran.
func (s *sent) mayHaveRun() bool {
	if s.ended.IsZero() || s.err == nil {
		return true
	}
	switch provision.AsCloudError(s.err).Class {
	case provision.ClassLost, provision.ClassServer, provision.ClassBusy:
		return true
	}
	return false
}

// request is what the database says in the end.
type request struct {
	ID, Name, Mark, State string
	Sealed                bool
	Attempts              int
	Instance              *string
	Message               *string
}

// check asserts the promises once nothing is due any more.
func (w *world) check() {
	w.t.Helper()
	for _, broken := range w.broken() {
		w.t.Errorf("%s in %s: %s\n%s", w.script.name, w.dialect, broken, w.history())
	}
}

func (w *world) broken() (broken []string) {
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	requests := w.requests()
	rejected := w.rejected()
	for _, m := range w.published() {
		if _, known := requests[m.ID]; !known && rejected[m.ID] == 0 {
			fail("lost: the database knows nothing of %s", m.ID)
		}
		if rejected[m.ID] > 1 {
			fail("%s was rejected %d times", m.ID, rejected[m.ID])
		}
	}
	held := map[string]bool{}
	for _, r := range requests {
		if r.Instance != nil {
			held[*r.Instance] = true
		}
	}
	for _, r := range requests {
		if !provision.State(r.State).Ended() {
			fail("lost: request %s is %s, and nothing is due", r.ID, r.State)
		}
		if r.Sealed {
			fail("request %s ended and its password is kept", r.ID)
		}
		if !w.mayEnd(r.State) {
			fail("request %s ended %s, want %v", r.ID, r.State, w.script.want)
		}
		if w.wished && r.ID == w.name(0) && r.State == string(provision.Ready) {
			fail("request %s was to be cancelled and is ready", r.ID)
		}
		w.checkInstances(r, held, fail)
		w.checkEvents(r, fail)
	}
	w.checkCalls(requests, fail)
	return broken
}

// mayEnd reports whether the script allows an end. What was adopted by its name
// alone is never deleted, so a wish to cancel may fail where there are no marks.
func (w *world) mayEnd(state string) bool {
	want := w.script.want
	return len(want) == 0 || contains(want, state) ||
		nameless(w.dialect) && state == string(provision.Failed) && contains(want, string(provision.Cancelled))
}

func contains(states []provision.State, s string) bool {
	for _, state := range states {
		if string(state) == s {
			return true
		}
	}
	return false
}

// checkInstances asserts that the cloud never made two for a request, and that the
// one it made is the one that the request has.
func (w *world) checkInstances(r request, held map[string]bool, fail func(string, ...any)) {
	made := []string{}
	for _, i := range w.cloud.Instances() {
		ours := i.Name == r.Name && !w.foreign[i.ID] && i.DeletedAt == nil
		if r.State == string(provision.Cancelled) && ours {
			fail("request %s is cancelled, and instance %s lives", r.ID, i.ID)
		}
		if w.dialect.TakesTags() {
			ours = false
			for _, tag := range i.Tags {
				ours = ours || tag.Key == provision.TagRequest && tag.Value == r.Mark && i.DeletedAt == nil
			}
		}
		if ours {
			made = append(made, i.ID)
		}
	}
	if len(made) > 1 {
		fail("twice: the cloud made %v for request %s", made, r.ID)
	}
	if r.State == string(provision.Ready) && (len(made) != 1 || r.Instance == nil || *r.Instance != made[0]) {
		fail("request %s is ready with instance %v, the cloud made %v", r.ID, r.Instance, made)
	}
	if r.State == string(provision.Failed) && (r.Message == nil || *r.Message == "") {
		fail("request %s failed and does not say why", r.ID)
	}
	for _, id := range made {
		if !held[id] {
			fail("hidden: request %s ended %s, and the database does not know the instance %s that was made for it", r.ID, r.State, id)
		}
	}
}

// checkCalls asserts that each call has an attempt, and that none was sent while
// an earlier one might still work.
func (w *world) checkCalls(requests map[string]request, fail func(string, ...any)) {
	attempts := map[string]int{}
	for _, r := range requests {
		attempts[r.Name] += r.Attempts
	}
	sent := map[string]int{}
	window := policy().VisibilityWindow
	for n, c := range w.ledger.calls {
		if c.err == nil || provision.AsCloudError(c.err).Class != provision.ClassNotSent {
			sent[c.name]++
		}
		for _, earlier := range w.ledger.calls[:n] { // for all that a worker can know
			if earlier.mark != c.mark || earlier.request != c.request || !earlier.mayHaveRun() {
				continue
			}
			busy := earlier.err != nil && provision.AsCloudError(earlier.err).Class == provision.ClassBusy
			if wait := c.at.Sub(earlier.at); !busy && wait < window {
				fail("a call for %s was sent %v after one that may have run", c.name, wait)
			}
		}
	}
	for name, n := range sent {
		if n > attempts[name] {
			fail("hidden: %d calls for %s, %d attempts in the database", n, name, attempts[name])
		}
	}
}

// checkEvents asserts that the stream has each event of a request once, in the
// order in which things happened, and that each step is one of the state machine.
func (w *world) checkEvents(r request, fail func(string, ...any)) {
	ids, states, err := w.events(r.ID)
	if err != nil {
		fail("%v", err)
		return
	}
	var told []int64
	for _, e := range w.journal.Events {
		if e.RequestID == r.ID {
			told = append(told, e.ID)
		}
	}
	if fmt.Sprint(told) != fmt.Sprint(ids) {
		fail("events of %s: the stream has %v, the database %v", r.ID, told, ids)
	}
	at := provision.State("")
	for n, s := range states {
		next := provision.State(s)
		switch {
		case n == 0 && next != provision.Pending:
			fail("the first event of %s is %s", r.ID, next)
		case n > 0 && next != at && !provision.CanGo(at, next):
			fail("request %s went from %s to %s", r.ID, at, next)
		case n > 0 && next == at && at.Ended():
			fail("request %s ended %s twice", r.ID, at)
		}
		at = next
	}
	if string(at) != r.State {
		fail("the last event of %s says %s, the row %s", r.ID, at, r.State)
	}
}

func (w *world) requests() map[string]request {
	w.t.Helper()
	rows, err := w.sql.Query(context.Background(), `
		select r.request_id, r.name, r.mark::text, r.state, r.sealed_password is not null, (select count(*) from attempts a where a.request_id = r.request_id),
			(select i.instance_id from instances i where i.request_id = r.request_id and i.gone_at is null), r.error_message
		from requests r where r.project_id = $1`, w.project)
	w.must(err)
	defer rows.Close()
	all := map[string]request{}
	for rows.Next() {
		var r request
		w.must(rows.Scan(&r.ID, &r.Name, &r.Mark, &r.State, &r.Sealed, &r.Attempts, &r.Instance, &r.Message))
		all[r.ID] = r
	}
	w.must(rows.Err())
	return all
}

// rejected counts the rejections of each id.
func (w *world) rejected() map[string]int {
	w.t.Helper()
	rows, err := w.sql.Query(context.Background(), `select request_id, count(*) from rejections where project_id = $1 group by 1`, w.project)
	w.must(err)
	defer rows.Close()
	all := map[string]int{}
	for rows.Next() {
		var id string
		var n int
		w.must(rows.Scan(&id, &n))
		all[id] = n
	}
	w.must(rows.Err())
	return all
}

func (w *world) events(id string) (ids []int64, states []string, err error) {
	rows, err := w.sql.Query(context.Background(), `select id, state, concerns is null and kind <> 'orphan' from events where request_id = $1 order by id`, id)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var state string
		var step bool // a refusal of another message is none, nor is news of an orphan
		if err := rows.Scan(&id, &state, &step); err != nil {
			return nil, nil, err
		}
		if ids = append(ids, id); step {
			states = append(states, state)
		}
	}
	return ids, states, rows.Err()
}

// history is everything that the database says about a run, and how its processes
// ended.
func (w *world) history() string {
	var b strings.Builder
	for _, line := range w.trail {
		fmt.Fprintln(&b, " ", line)
	}
	for _, q := range []string{
		`select format('request %s %s: due %s, waits for %s, error %s %s', request_id, state, next_attempt_at, waiting_for, error_code, error_message) from requests where project_id = $1`,
		`select format('%s event %s %s %s %s %s', to_char(e.at, 'HH24:MI:SS.MS'), e.id, e.kind, e.state, e.error_code, coalesce(e.detail, e.error_message)) from events e join requests r using (request_id) where r.project_id = $1 order by e.id`,
		`select format('attempt %s: fence %s, %s, %s %s %s', a.number, a.fence, a.outcome, a.error_code, a.error_message, a.instance_id) from attempts a join requests r using (request_id) where r.project_id = $1 order by a.request_id, a.number`,
		`select format('instance %s %s: job %s %s, due %s', i.instance_id, i.status, j.job_id, j.status, i.next_look_at) from instances i left join jobs j using (instance_id) where i.project_id = $1`,
	} {
		rows, err := w.sql.Query(context.Background(), q, w.project)
		if err != nil {
			return b.String() + err.Error()
		}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				fmt.Fprintln(&b, err)
			}
			fmt.Fprintln(&b, " ", line)
		}
		rows.Close()
	}
	for _, c := range w.ledger.calls {
		fmt.Fprintf(&b, "  create %s at %s: %v\n", c.name, c.at.UTC().Format("15:04:05.000"), c.err)
	}
	for _, i := range w.cloud.Instances() {
		fmt.Fprintf(&b, "  the cloud has %s %s %s %s\n", i.ID, i.Name, i.Status, i.Created.UTC().Format("15:04:05.000"))
	}
	return b.String()
}
