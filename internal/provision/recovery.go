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
	EventID    int64
	At         time.Time
}

// Recovery collects what the stream knows beyond the newest event that a restored
// database has.
type Recovery struct {
	Known int64 // the newest event of the database
	last  int64
	told  map[string]Told
}

// Add takes an event in; they come in the order of each request.
func (r *Recovery) Add(e Event) {
	r.last = max(r.last, e.ID)
	if e.ID <= r.Known || e.Kind == KindOrphan {
		return
	}
	if r.told == nil {
		r.told = map[string]Told{}
	}
	t := r.told[e.RequestID]
	t.RequestID, t.State, t.EventID, t.At = e.RequestID, e.State, e.ID, e.At
	if e.InstanceID != "" {
		t.InstanceID, t.JobID = e.InstanceID, e.JobID
	}
	if e.State == Rejected {
		return // it never was a request
	}
	r.told[e.RequestID] = t
}

// Last is the newest event of all.
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
	Lost         []Told
}
