package storetest

import (
	"context"
	"maps"
	"slices"
	"time"

	"ddsworker/internal/provision"
)

// Lead implements provision.RelayStore.
func (m *Memory) Lead(context.Context) (release func(), ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leading {
		return nil, false, nil
	}
	m.leading = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.leading = false
	}, true, nil
}

// batchMost is how many events a batch of the outbox has at most.
const batchMost = 20

// Unpublished implements provision.RelayStore. What was told since it was asked last
// makes new batches.
func (m *Memory) Unpublished(_ context.Context, limit int) (out []provision.Event, after uint64, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for batch := range slices.Chunk(m.events[m.batched:], batchMost) {
		for _, e := range batch {
			e.Batch = batch[0].ID
		}
		m.outbox = append(m.outbox, slices.Clone(batch))
	}
	m.batched = len(m.events)
	for _, batch := range m.outbox {
		if len(out) > 0 && len(out)+len(batch) > limit {
			break
		}
		for _, e := range batch {
			out = append(out, e.Event)
		}
	}
	return out, m.relayed, nil
}

// MarkPublished implements provision.RelayStore.
func (m *Memory) MarkPublished(_ context.Context, p provision.Published) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := range m.outbox {
		m.outbox[n] = slices.DeleteFunc(m.outbox[n], func(e *event) bool {
			e.published = slices.Contains(p.Batches, e.Batch) || slices.Contains(p.IDs, e.ID)
			return e.published
		})
	}
	m.outbox = slices.DeleteFunc(m.outbox, func(batch []*event) bool { return len(batch) == 0 })
	if m.relayed == p.After {
		m.relayed = p.Last
	}
	return nil
}

// Waited implements provision.RelayStore.
func (m *Memory) Waited(context.Context) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	waiting := m.events[m.batched:]
	if len(m.outbox) > 0 {
		waiting = m.outbox[0]
	}
	if len(waiting) == 0 {
		return 0, nil
	}
	return m.now().Sub(waiting[0].At), nil
}

// Budgets implements provision.BudgetStore.
func (m *Memory) Budgets(_ context.Context, scopes []string) (map[string]*provision.BudgetState, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	states := map[string]*provision.BudgetState{}
	for _, scope := range scopes {
		state := clone(m.budgets[scope])
		states[scope] = &state
	}
	return states, m.now(), nil
}

// SaveBudgets implements provision.BudgetStore.
func (m *Memory) SaveBudgets(_ context.Context, states map[string]*provision.BudgetState) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for scope, s := range states {
		if m.budgets[scope].Version != s.Version {
			return false, nil
		}
	}
	for scope, s := range states {
		state := clone(*s)
		state.Version++
		m.budgets[scope] = state
	}
	return true, nil
}

func clone(s provision.BudgetState) provision.BudgetState {
	s.Pace.Next = maps.Clone(s.Pace.Next)
	return s
}
