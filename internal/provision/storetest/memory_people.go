package storetest

import (
	"context"

	"ddsworker/internal/provision"
)

// Cancel notes the wish that requests be cancelled, as store.Store does.
func (m *Memory) Cancel(_ context.Context, ids []string, _ string) ([]provision.CancelFound, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := make([]provision.CancelFound, len(ids))
	for n, id := range ids {
		found[n].RequestID = id
		if r := m.requests[id]; r != nil {
			m.wish(r)
			found[n].State, found[n].Wished = r.state, !r.cancelWished.IsZero()
			if held := m.held(id); held != nil {
				found[n].InstanceID = held.id
			}
		}
	}
	return found, nil
}

// wish notes it, and makes it due at once unless a live lease holds the request.
func (m *Memory) wish(r *request) {
	if r.state.Ended() || !r.cancelWished.IsZero() {
		return
	}
	held := m.held(r.ID)
	mayHaveRun := held != nil || r.renewMark && len(m.gone(r.ID)) > 0 || m.mayHaveRun(r, r.attempts+1, provision.OutcomeUnknown, provision.OutcomeBusy, provision.OutcomeCreated)
	r.cancelWished, r.sealed = m.now(), nil
	m.tell(r.ID, "cancelling", r.state, nil)
	switch {
	case r.state == provision.Building:
		if held != nil {
			held.due = m.now()
		}
	case r.claimedBy == "" && !mayHaveRun:
		r.state, r.lookFirst, r.renewMark, r.waitingFor = provision.Cancelled, false, false, ""
		m.tell(r.ID, "cancelled", provision.Cancelled, nil)
		return
	}
	r.lookFirst = r.lookFirst || r.state == provision.Pending
	if r.claimedBy == "" && r.due.After(m.now()) {
		r.due = m.now()
	}
}

// Retry makes a failed request pending again, as store.Store does.
func (m *Memory) Retry(_ context.Context, id string, sealedPassword []byte, _ string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.requests[id]
	if r == nil || r.state != provision.Failed || r.namesakes != nil && m.nameHeld(r) {
		return false, nil
	}
	kept := *r
	*r = request{NewRequest: kept.NewRequest, state: provision.Pending, sealed: sealedPassword, hadPassword: kept.hadPassword,
		mark: kept.mark, due: m.now(), waitingFor: "a look at what its earlier attempts left", lookFirst: true, fence: kept.fence + 1,
		attempts: kept.attempts, settledAttempts: kept.settledAttempts, settledAt: kept.settledAt, namesakes: kept.namesakes,
		retried: m.now(), renewMark: true}
	m.tell(id, "retried", provision.Pending, nil)
	return true, nil
}
