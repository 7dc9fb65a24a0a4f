package storetest

import (
	"context"
	"slices"

	"ddsworker/internal/provision"
)

// Accept implements provision.IntakeStore.
func (m *Memory) Accept(_ context.Context, batch []provision.NewRequest, q provision.ClaimQuery) ([]provision.Acceptance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, isNew := make([]provision.Acceptance, len(batch)), map[string]bool{}
	for n, r := range batch {
		switch known := m.requests[r.ID]; {
		case known == nil:
			isNew[r.ID] = true
			m.requests[r.ID] = &request{NewRequest: r, state: provision.Pending, sealed: r.SealedPassword, hadPassword: r.SealedPassword != nil,
				mark: m.newMark(), due: m.now(), waitingFor: r.WaitingFor, lookFirst: !m.marksSeen[r.ProjectID]}
			m.tell(r.ID, "accepted", provision.Pending, func(e *provision.Event) {
				if r.WaitingFor != "" {
					e.Error = &provision.EventError{Message: "waits for " + r.WaitingFor}
				}
			})
		case known.Fingerprint == r.Fingerprint:
			found[n].Found = provision.Duplicate
		default:
			found[n].Found = provision.Conflicting
		}
	}
	for _, id := range m.waiting(q, func(r *request) bool { return isNew[r.ID] && !r.lookFirst }) {
		n := slices.IndexFunc(batch, func(r provision.NewRequest) bool { return r.ID == id })
		found[n].Claim = new(m.claim(id, q))
	}
	return found, nil
}

// Reject implements provision.IntakeStore.
func (m *Memory) Reject(_ context.Context, batch []provision.Rejection) ([]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := make([]bool, len(batch))
	for n, r := range batch {
		known := m.requests[r.RequestID]
		taken[n] = known != nil && known.Sequence == r.Sequence && known.ReceivedAt.Equal(r.ReceivedAt)
		if taken[n] || m.isRejected(r) {
			continue
		}
		m.rejections = append(m.rejections, r)
		kind, state := "rejected", provision.Rejected
		if known != nil {
			kind, state = "refused", known.state
		}
		m.tell(r.RequestID, kind, state, func(e *provision.Event) {
			e.Concerns = r.Sequence
			e.Error = &provision.EventError{Code: r.Code, Message: r.Reasons.Error(), Class: string(provision.ClassInvalid)}
		})
	}
	return taken, nil
}

func (m *Memory) isRejected(r provision.Rejection) bool {
	for _, known := range m.rejections {
		if known.Sequence == r.Sequence && known.ReceivedAt.Equal(r.ReceivedAt) {
			return true
		}
	}
	return false
}
