package storetest

import (
	"context"
	"time"

	"ddsworker/internal/provision"
)

// ClaimPolls implements provision.PollStore.
func (m *Memory) ClaimPolls(_ context.Context, q provision.ClaimQuery) (claims []provision.PollClaim, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []claimable
	until := m.now().Add(q.Slack)
	for id, i := range m.instances {
		if !i.due.IsZero() && !i.due.After(until) && m.requests[i.requestID].Region == q.Served.Region {
			all = append(all, claimable{id, i.projectID, i.due})
		}
	}
	for _, id := range m.fairly(q, all) {
		i := m.instances[id]
		r := m.requests[i.requestID]
		i.looks++
		if r.state != provision.Building {
			i.due = time.Time{}
			continue
		}
		i.due = m.now().Add(q.Lease)
		claims = append(claims, m.pollClaim(r, i))
	}
	return claims, nil
}

// KeepPoll implements provision.PollStore.
func (m *Memory) KeepPoll(_ context.Context, instanceID string, lease time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.instances[instanceID]
	if i == nil || i.due.IsZero() {
		return false, nil
	}
	i.due = m.now().Add(lease)
	return true, nil
}

func (m *Memory) pollClaim(r *request, i *instance) provision.PollClaim {
	now := m.now()
	since := func(t time.Time) time.Duration {
		if t.IsZero() {
			return 0
		}
		return now.Sub(t)
	}
	born := i.created
	if r.retried.After(born) {
		born = r.retried
	}
	c := provision.PollClaim{RequestID: r.ID, InstanceID: i.id, ProjectID: i.projectID, Mode: r.Mode, Flavor: flavorOf(r.Spec),
		Mark: r.mark, Looks: i.looks, Since: since(i.updated),
		MarksSeen: m.marksSeen[i.projectID], Age: now.Sub(born), OrderID: i.orderID, Seen: !i.seen.IsZero(),
		Settled: !r.settledAt.After(now), Missed: i.status == "deleted", WaitingFor: r.waitingFor, Named: !i.adopted, Cancelling: !r.cancelWished.IsZero(),
		CancelAge: since(r.cancelWished), Deleting: !i.deleting.IsZero(), DeleteAge: since(i.deleting)}
	if j := m.jobOf(i.id); j != nil {
		c.JobID, c.JobStatus, c.Progress = j.id, j.status, j.progress
	}
	for _, a := range m.attempts[r.ID] {
		c.Named = c.Named || a.instanceID == i.id && a.outcome == provision.OutcomeCreated
	}
	return c
}

// RecordPolls implements provision.PollStore.
func (m *Memory) RecordPolls(_ context.Context, batch []provision.PollResult) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range batch {
		r, i := m.requests[p.RequestID], m.instances[p.InstanceID]
		if r != nil && i != nil && r.state == provision.Building && i.requestID == r.ID && i.gone.IsZero() {
			m.recordPoll(r, i, p)
		}
	}
	return nil
}

func (m *Memory) recordPoll(r *request, i *instance, p provision.PollResult) {
	surprised := !r.cancelWished.IsZero() && !p.Cancelling
	state := p.State
	if surprised {
		state = provision.Building
	}
	known := m.jobs[p.JobID]
	news := p.Changed && (known == nil || known.status != p.JobStatus || known.progress != p.Progress)
	deletes := p.Deleting && i.deleting.IsZero()
	if state == provision.Building {
		r.waitingFor = p.WaitingFor
	} else {
		r.waitingFor, r.failure = "", provision.Failure{}
		if p.Failure != nil {
			r.failure = *p.Failure
		}
	}
	m.enter(r, state)
	m.follow(i, p, state, surprised)
	if p.JobID != "" && p.JobStatus != "" && p.Changed {
		if known == nil {
			known = m.addJob(&job{id: p.JobID, requestID: r.ID, instanceID: i.id})
		}
		known.status, known.progress = p.JobStatus, p.Progress
	}
	kind := string(state)
	switch {
	case deletes:
		kind = "deleting"
	case state == provision.Building:
		kind = "progress"
	}
	if !news && !deletes && state == provision.Building {
		return
	}
	m.tell(r.ID, kind, state, func(e *provision.Event) {
		e.InstanceID, e.JobID = i.id, p.JobID
		if !p.Cancelling {
			e.Progress = &p.Progress
		}
		if p.Failure != nil {
			e.Error = eventError(*p.Failure)
		}
	})
}

func (m *Memory) follow(i *instance, p provision.PollResult, state provision.State, surprised bool) {
	i.due, i.updated = time.Time{}, m.now()
	if state == provision.Building {
		if i.due = m.now().Add(p.Delay); surprised {
			i.due = m.now()
		}
	}
	if p.Instance != nil && p.Instance.Status != "" {
		i.status = p.Instance.Status
		if i.seen.IsZero() {
			i.seen = m.now()
		}
	}
	if p.Deleting {
		i.deleting = m.now()
	}
	if p.Gone {
		if i.status = "deleted"; state != provision.Building {
			i.gone = m.now()
		}
	}
}
