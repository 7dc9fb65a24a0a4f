package storetest

import (
	"context"
	"maps"
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

// Unpublished implements provision.RelayStore.
func (m *Memory) Unpublished(_ context.Context, limit int) (out []provision.Event, after uint64, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		if !e.published && len(out) < limit {
			out = append(out, e.Event)
		}
	}
	return out, m.relayed, nil
}

// MarkPublished implements provision.RelayStore.
func (m *Memory) MarkPublished(_ context.Context, p provision.Published) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range p.IDs {
		m.events[id-1].published = true
	}
	if m.relayed == p.After {
		m.relayed = p.Last
	}
	return nil
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
