package storetest

import (
	"cmp"
	"slices"

	"ddsworker/internal/provision"
)

// Evidence is what the store knows of a request, for tests.
type Evidence struct {
	ID           string
	State        provision.State
	Attempts     int
	Error        string
	WaitingFor   string
	PasswordKept bool
	Instances    []string // all that were ever recorded for it
	Orphans      []string
}

// Requests returns what is known of each, in the order of their ids.
func (m *Memory) Requests() []Evidence {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Evidence
	for id, r := range m.requests {
		e := Evidence{ID: id, State: r.state, Attempts: len(m.attempts[id]), Error: r.failure.Message, WaitingFor: r.waitingFor, PasswordKept: r.sealed != nil}
		for _, i := range m.instances {
			if i.requestID == id {
				e.Instances = append(e.Instances, i.id)
			}
		}
		for _, o := range m.orphans {
			if o.Tags[provision.TagRequest] == r.mark {
				e.Orphans = append(e.Orphans, o.ID)
			}
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b Evidence) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Rejected returns the ids of what was rejected, in the order in which it was.
func (m *Memory) Rejected() (ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rejections {
		ids = append(ids, r.RequestID)
	}
	return ids
}

// Told is an event, and whether it is noted as published.
type Told struct {
	provision.Event
	Published bool
}

// Events returns all of them in their order.
func (m *Memory) Events() []Told {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Told, len(m.events))
	for n, e := range m.events {
		out[n] = Told{e.Event, e.published}
	}
	return out
}
