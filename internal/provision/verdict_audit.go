package provision

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// This file decides what an instance is that carries our tags: pure functions, no I/O.

// MarkFacts is what the database knows of a listed instance and of its mark, read
// after the list.
type MarkFacts struct {
	RequestID string // whose mark it is; empty: no mark that was made here
	State     State  // of that request; empty: it is pruned
	Name      string // that the request asked for
	Holds     string // the instance that it has
	Recorded  bool   // the listed instance itself is recorded, for whatever request
	Gone      bool   // it is recorded for RequestID, and was taken for gone
	Named     bool   // an answer to a call of that request named it
	// SettledAt is when the last call of that request could no longer make an instance
	// unseen; zero: none was made.
	SettledAt time.Time
}

// Sighting is an instance of nobody's, seen in a whole list.
type Sighting struct {
	Instance  Instance
	Mark      string
	RequestID string // empty where it is not certain whose it is
	Unknown   bool   // only to be reported, whatever the policy says
	Why       string
	Evidence  json.RawMessage
}

// Orphan is one that may be deleted, as it was recorded.
type Orphan struct {
	InstanceID string
	ProjectID  string
	Mark       string
	RequestID  string
}

// OrphanPolicy says what is done with orphans.
type OrphanPolicy string

// The policies.
const (
	ReportOrphans OrphanPolicy = "report"
	DeleteOrphans OrphanPolicy = "delete"
	KeepOrphans   OrphanPolicy = "keep" // recorded, and no more said
)

// ParseOrphanPolicy checks a policy's name; its error lists those there are.
func ParseOrphanPolicy(name string) (OrphanPolicy, error) {
	switch p := OrphanPolicy(name); p {
	case ReportOrphans, DeleteOrphans, KeepOrphans:
		return p, nil
	}
	return "", fmt.Errorf("given %q, allowed: %s, %s, %s", name, ReportOrphans, DeleteOrphans, KeepOrphans)
}

// judgeListed tells whether an instance that carries our installation's name, or a mark
// that was made here, is nobody's. One that was ever recorded is not, unless it was
// taken for gone; nor is one that its request may yet find. Tags can be copied, by hand or with the instance: what
// no call of ours can have made, or may stand for the one that its request had, is only
// reported. held tells whether the list shows the instance that its request has.
func judgeListed(i Instance, f MarkFacts, held bool, round int64) (s Sighting, orphan bool) {
	s = Sighting{Instance: i, Mark: i.Tags[TagRequest], RequestID: f.RequestID}
	live := f.State == Pending || f.State == Creating || f.State == Building
	switch {
	case f.Recorded:
		return s, false
	case f.Gone:
		s.Unknown, s.Why = true, "it was taken for gone, and is listed again: its deletion failed, or an answer that did not show it was wrong – delete it if it is not wanted"
	case f.RequestID == "":
		s.Unknown, s.Why = true, "it carries our installation's name and a mark that this database does not know"
	case f.State == "":
		s.Unknown, s.RequestID, s.Why = true, "", "its request is pruned, so nothing tells whether it is wanted"
	case f.State == Pending, f.State == Creating, live && f.Named:
		return s, false
	case i.Tags[TagInstallation] == "":
		s.Unknown, s.Why = true, "it carries a mark that was made here and not our installation's name"
	case i.Name != f.Name:
		s.Unknown, s.Why = true, fmt.Sprintf("it carries the mark of a request for %q and has another name: tags can be copied, and names changed", f.Name)
	case !madeBefore(i, f.SettledAt):
		s.Unknown, s.Why = true, fmt.Sprintf("it carries the mark of a request whose calls cannot have made it, as it was created at %q: tags can be copied", i.Created)
	case f.Holds != "" && !held:
		s.Unknown, s.Why = true, fmt.Sprintf("its request is %s and has %s, which is not listed: this one may have taken its place", f.State, f.Holds)
	case f.Holds != "":
		s.Why = fmt.Sprintf("a second instance for one request, which is %s and has %s", f.State, f.Holds)
	default:
		s.Why = fmt.Sprintf("its request is %s and does not have it", f.State)
	}
	s.Evidence = evidence(i, f, round)
	return s, true
}

// createdMargin is what the cloud's times may differ from ours: they name no zone, and
// zones lie up to 14 hours from UTC.
const createdMargin = 24 * time.Hour

// madeBefore reports whether an instance was surely created before a time, or within
// the margin after it. Whatever stands behind the seconds is ignored: dialects differ.
func madeBefore(i Instance, t time.Time) bool {
	const seconds = "2006-01-02T15:04:05"
	created, err := time.Parse(seconds, strings.Replace(i.Created[:min(len(i.Created), len(seconds))], " ", "T", 1))
	return err == nil && created.Before(t.Add(createdMargin))
}

// evidence is what was known when an orphan was first seen.
func evidence(i Instance, f MarkFacts, round int64) json.RawMessage {
	type request struct {
		ID    string `json:"id"`
		State State  `json:"state"`
		Name  string `json:"name"`
		Holds string `json:"holds,omitempty"`
		Named bool   `json:"named_by_an_answer"`
	}
	e := struct {
		Round   int64             `json:"round"`
		Tags    map[string]string `json:"tags"`
		Created string            `json:"created"`
		Request *request          `json:"request,omitempty"`
		Listed  json.RawMessage   `json:"listed,omitempty"`
	}{Round: round, Tags: i.Tags, Created: i.Created, Listed: i.Detail}
	if f.RequestID != "" {
		e.Request = &request{f.RequestID, f.State, f.Name, f.Holds, f.Named}
	}
	text, err := json.Marshal(e)
	if err != nil { // what the cloud listed is no JSON
		e.Listed = nil
		text, _ = json.Marshal(e)
	}
	return text
}

// Deletion is what became of asking for an orphan's deletion.
type Deletion struct {
	InstanceID string
	Gone       bool          // it exists no more
	Refused    bool          // it will not be asked for again by itself
	Explained  bool          // it is not what it was
	Delay      time.Duration // until it may be asked for again
	Failure    *Failure
	Accepted   bool
}

const (
	// deletionTime is how long an accepted deletion may take before it is asked for
	// again.
	deletionTime = time.Hour
	// deletionPause is the wait after one that failed, or whose outcome nobody recorded.
	deletionPause = 10 * time.Minute
)

// stillOrphan reports whether an instance that was read again by its id is what was
// recorded; seen is nil where it is not there.
func stillOrphan(o Orphan, installation string, seen *Instance) (d Deletion, still bool) {
	d.InstanceID = o.InstanceID
	switch {
	case seen == nil:
		d.Gone = true
	case seen.Tags[TagInstallation] != installation || seen.Tags[TagRequest] != o.Mark:
		d.Explained, d.Failure = true, &Failure{Message: "its tags are not what they were, so it is not deleted"}
	default:
		return d, true
	}
	return d, false
}

// afterOrphanDelete returns what the answer to a deletion means. Only a later round
// confirms it.
func afterOrphanDelete(o Orphan, err error) Deletion {
	d := Deletion{InstanceID: o.InstanceID}
	if err == nil {
		d.Accepted, d.Delay = true, deletionTime
		return d
	}
	ce := AsCloudError(err)
	d.Delay, d.Failure = max(deletionPause, ce.RetryAfter), failureOf(ce, ce.Class)
	switch ce.Class {
	case ClassGone:
		d.Gone, d.Failure = true, nil
	case ClassInvalid, ClassForbidden, ClassQuota, ClassConflict, ClassNotOffered:
		d.Refused = true
		d.Failure.Message = ce.Message + " – delete it in the console, or unsubscribe from it if it is prepaid"
	case ClassNotSent, ClassRate, ClassAuth:
		d.Delay = time.Minute
	}
	return d
}
