package storetest

import (
	"context"
	"fmt"
	"time"

	"ddsworker/internal/provision"
)

// ClaimCreates implements provision.CreateStore.
func (m *Memory) ClaimCreates(_ context.Context, q provision.ClaimQuery) (claims []provision.CreateClaim, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := m.waiting(q, func(r *request) bool { return r.state == provision.Pending && !r.lookFirst && r.cancelWished.IsZero() })
	for _, id := range ids {
		claims = append(claims, m.claim(id, q))
	}
	return claims, nil
}

// claim makes a pending request creating.
func (m *Memory) claim(id string, q provision.ClaimQuery) provision.CreateClaim {
	r := m.requests[id]
	m.intend(r)
	if !r.firstAttempt.IsZero() {
		r.waited += m.now().Sub(r.due)
	}
	r.state, r.looks, r.claimedBy, r.waitingFor = provision.Creating, 0, q.Worker, ""
	r.due, r.settledAt = m.now().Add(q.Lease), m.now().Add(q.Settle)
	m.tell(id, "creating", provision.Creating, nil)
	return provision.CreateClaim{RequestID: id, Fence: r.fence, Attempt: r.attempts, ProjectID: r.ProjectID, Name: r.Name,
		Spec: r.Spec, SealedPassword: r.sealed, Mark: r.mark, Prepaid: r.Prepaid,
		LastCode: r.failure.Code, LastClass: r.failure.Class, Repeats: r.repeats, Age: m.age(r)}
}

// intend records the intent to call. An attempt that did not leave, with nothing
// after it, is taken again.
func (m *Memory) intend(r *request) {
	all := m.attempts[r.ID]
	fence := r.fence
	r.fence++
	if n := len(all); n > 0 && all[n-1].neverCalled && all[n-1].fence == fence {
		all[n-1] = &attempt{number: r.attempts, fence: r.fence, intended: m.now()}
		return
	}
	r.attempts++
	m.attempts[r.ID] = append(all, &attempt{number: r.attempts, fence: r.fence, intended: m.now()})
}

// RecordCreates implements provision.CreateStore.
func (m *Memory) RecordCreates(_ context.Context, batch []provision.CreateResult) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range batch {
		r, a := m.requests[c.RequestID], m.attempt(c)
		if r == nil || a == nil || a.reported || c.Created.InstanceID == "" || r.fence != c.Fence || r.state != provision.Creating {
			continue
		}
		if m.instances[c.Created.InstanceID] != nil || m.jobs[c.Created.JobID] != nil {
			return fmt.Errorf("%w: it is there already", provision.ErrUnstorable)
		}
	}
	for _, c := range batch {
		m.recordCreate(c)
	}
	return nil
}

func (m *Memory) attempt(c provision.CreateResult) *attempt {
	for _, a := range m.attempts[c.RequestID] {
		if a.number == c.Attempt && a.fence == c.Fence {
			return a
		}
	}
	return nil
}

func (m *Memory) recordCreate(c provision.CreateResult) {
	r, a := m.requests[c.RequestID], m.attempt(c)
	if r == nil || a == nil || a.reported {
		return
	}
	a.reported, a.outcome, a.instanceID, a.jobID = true, c.Outcome, c.Created.InstanceID, c.Created.JobID
	a.failure = provision.Failure{}
	if c.Failure != nil {
		a.failure = *c.Failure
	}
	a.neverCalled = a.failure.Class == provision.ClassNotSent
	if r.fence != c.Fence || r.state != provision.Creating {
		m.late(r, a)
		return
	}
	wished := !r.cancelWished.IsZero()
	state := c.Next.State
	if wished && (state == provision.Pending || state == provision.Failed) &&
		(c.Outcome == provision.OutcomeNotExecuted || c.Outcome == provision.OutcomePermanent) &&
		!m.mayHaveRun(r, c.Attempt, provision.OutcomeUnknown, provision.OutcomeBusy, provision.OutcomeCreated) {
		state = provision.Cancelled
	}
	delay := c.Next.Delay
	if a.neverCalled && !r.firstAttempt.IsZero() {
		r.waited += c.Took + delay
	}
	if r.firstAttempt.IsZero() && !a.neverCalled {
		r.firstAttempt = m.now().Add(-c.Took)
	}
	due := delay
	if wished {
		due = min(due, time.Second)
	}
	if a.failure.Code != "" && a.failure.Code == r.failure.Code {
		r.repeats++
	} else {
		r.repeats = 1
	}
	r.failure, r.waitingFor, r.due, r.claimedBy = a.failure, c.Next.WaitingFor, m.now().Add(due), ""
	r.lookFirst = state == provision.Pending && (c.Next.LookFirst || wished || !m.marksSeen[r.ProjectID])
	m.enter(r, state)
	if c.Created.InstanceID != "" {
		m.build(r, c, delay, wished)
	}
	kind := string(state)
	switch state {
	case provision.Pending:
		kind = "waiting"
	case provision.Creating:
		kind = "unknown"
	}
	m.tell(r.ID, kind, state, func(e *provision.Event) {
		e.InstanceID, e.JobID, e.Error = c.Created.InstanceID, c.Created.JobID, eventError(a.failure)
	})
}

// late has what an answer named looked for, though its worker had lost the request
// by then. Where nobody looks any more, it is an orphan.
func (m *Memory) late(r *request, a *attempt) {
	if a.outcome != provision.OutcomeCreated {
		return
	}
	if a.number <= r.settledAttempts || r.state != provision.Pending && r.state != provision.Creating {
		m.surplus(r, a)
		return
	}
	r.fence++
	r.claimedBy, r.due, r.lookFirst = "", m.now(), r.state == provision.Pending
	r.waitingFor = "a look at instance " + a.instanceID + ", which a late answer named"
}

func (m *Memory) surplus(r *request, a *attempt) {
	if _, known := m.orphans[a.instanceID]; known || m.instances[a.instanceID] != nil {
		return
	}
	o := provision.Instance{ID: a.instanceID, Name: r.Name}
	if a.number > r.settledAttempts {
		o.Tags = map[string]string{provision.TagRequest: r.mark}
	}
	m.orphans[o.ID] = o
	m.tell(r.ID, provision.KindOrphan, r.state, func(e *provision.Event) { e.InstanceID = o.ID })
}

// enter makes it the request's state and erases what that state may not keep.
func (m *Memory) enter(r *request, state provision.State) {
	if r.state = state; state != provision.Pending && state != provision.Creating {
		r.sealed = nil
	}
}

func (m *Memory) build(r *request, c provision.CreateResult, delay time.Duration, wished bool) {
	if !m.marksSeen[r.ProjectID] || wished {
		delay = 0
	}
	status := c.Created.Status
	if status == "" {
		status = provision.InstanceCreating
	}
	m.instances[c.Created.InstanceID] = &instance{id: c.Created.InstanceID, requestID: r.ID, projectID: r.ProjectID, orderID: c.Created.OrderID,
		status: status, due: m.now().Add(delay), created: m.now(), updated: m.now()}
	if c.Created.JobID != "" {
		m.addJob(&job{id: c.Created.JobID, requestID: r.ID, instanceID: c.Created.InstanceID, status: provision.JobRunning})
	}
}
