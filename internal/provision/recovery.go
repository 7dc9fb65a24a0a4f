package provision

import (
	"slices"
	"time"
)

// Told is what the stream of events knows of a request and the database does not:
// its newest event, and the instance that the cloud's answers or a look named.
type Told struct {
	RequestID  string
	State      State
	InstanceID string
	JobID      string
	Cancelling bool // somebody wished it cancelled, and nobody retried it since
	EventID    int64
	At         time.Time
}

// Recovery collects what the stream knows and a restored database does not.
type Recovery struct {
	known, last int64
	told        map[string]Told
}

// Add takes an event in; they come in the order of each request. known is whether the
// database has it: ids do not tell, as a transaction that had the lower ones may have
// been committed after the backup.
func (r *Recovery) Add(e Event, known bool) {
	r.last = max(r.last, e.ID)
	if known {
		r.known = max(r.known, e.ID)
	}
	switch {
	case known, e.Kind == KindOrphan:
		return
	case e.Kind == "lost": // by a recovery that this database does not know
		delete(r.told, e.RequestID)
		return
	case e.State == Rejected: // it never was a request
		return
	}
	if r.told == nil {
		r.told = map[string]Told{}
	}
	t := r.told[e.RequestID]
	switch e.Kind {
	case "accepted": // after it had been lost: another request with its id
		t = Told{}
	case "cancelling", "deleting":
		t.Cancelling = true
	case "retried":
		t.Cancelling = false
	}
	t.RequestID, t.State, t.EventID, t.At = e.RequestID, e.State, e.ID, e.At
	switch {
	case e.InstanceID == "":
	case e.Kind == KindLooked: // what a retry found to be gone
		t.InstanceID, t.JobID = "", ""
	default:
		t.InstanceID, t.JobID = e.InstanceID, e.JobID
	}
	r.told[e.RequestID] = t
}

// Known is the id of the newest event that the database has too. It is 0 if there is
// none: then events that came between are nowhere any more.
func (r *Recovery) Known() int64 { return r.known }

// Last is the id of the newest event of all.
func (r *Recovery) Last() int64 { return r.last }

// Told returns what the database does not know, in the order of events.
func (r *Recovery) Told() []Told {
	var all []Told
	for _, t := range r.told {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b Told) int { return int(a.EventID - b.EventID) })
	return all
}

// Recovered says what a recovery did.
type Recovered struct {
	Installation string
	Epoch        int
	LookFirst    int // requests that are looked for before their next call
	Building     int // instances that are looked at again
	Adopted      int // instances that only the stream knew, for requests that are known
	Kept         int // instances that only the stream knew, for requests that had ended
	Cancelled    int // requests that only the stream knew to be cancelled
	Cancelling   int // and to be wished so
	Retried      int // requests that only the stream knew to be retried, without their last instance
	Lost         []Told
	// Since is when the newest event of the database came to be, if the stream has none
	// that it has: nobody can tell all that happened since.
	Since time.Time
}
