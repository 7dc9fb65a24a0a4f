package storetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"ddsworker/internal/provision"
)

// ClaimLooks implements provision.LookStore.
func (m *Memory) ClaimLooks(_ context.Context, q provision.ClaimQuery) (claims []provision.LookClaim, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := m.waiting(q, func(r *request) bool {
		return r.state == provision.Creating || r.state == provision.Pending && r.lookFirst
	})
	for _, id := range ids {
		r := m.requests[id]
		if !r.firstAttempt.IsZero() {
			r.waited += m.now().Sub(r.due)
		} else if r.attempts > r.settledAttempts && !r.renewMark {
			r.firstAttempt = m.now()
		}
		r.state, r.claimedBy, r.due = provision.Creating, q.Worker, m.now().Add(q.Lease)
		r.fence++
		r.looks++
		claims = append(claims, m.lookClaim(r))
	}
	return claims, nil
}

// KeepLook implements provision.LookStore.
func (m *Memory) KeepLook(_ context.Context, requestID string, fence int64, lease time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.requests[requestID]
	if r == nil || r.fence != fence || r.state != provision.Creating {
		return false, nil
	}
	r.due = m.now().Add(lease)
	return true, nil
}

func (m *Memory) lookClaim(r *request) provision.LookClaim {
	c := provision.LookClaim{RequestID: r.ID, Fence: r.fence, ProjectID: r.ProjectID, Name: r.Name, Spec: r.Spec, Mark: r.mark, Prepaid: r.Prepaid,
		Looks: r.looks, LastMessage: "no answer was recorded", Settled: !r.settledAt.After(m.now()),
		MarksSeen: m.marksSeen[r.ProjectID], Namesakes: r.namesakes, Age: m.age(r), Cancelling: !r.cancelWished.IsZero(), Retried: r.renewMark}
	if all := m.attempts[r.ID]; len(all) > 0 {
		last := all[len(all)-1]
		if last.outcome == "" { // its worker may still report it
			last.outcome = provision.OutcomeUnknown
			last.failure = provision.Failure{Class: provision.ClassLost, Message: "its worker did not report before its lease ended"}
		}
		if r.attempts > r.settledAttempts {
			c.LastOutcome = last.outcome
		}
		c.LastCode, c.LastMessage = last.failure.Code, cmp.Or(last.failure.Message, c.LastMessage)
	}
	for _, a := range m.attempts[r.ID] {
		if a.number > r.settledAttempts && a.outcome == provision.OutcomeCreated && m.instances[a.instanceID] == nil {
			c.Named = append(c.Named, a.instanceID)
		}
	}
	c.MayHaveRun = c.Named != nil || m.mayHaveRun(r, r.attempts+1, provision.OutcomeUnknown, provision.OutcomeBusy)
	if r.renewMark {
		c.Gone = m.gone(r.ID)
	}
	if held := m.held(r.ID); held != nil {
		c.Held = held.id
		j := m.jobOf(held.id)
		c.HeldFailed = j != nil && j.status == provision.JobFailed
		if held.seen.IsZero() {
			c.HeldOrder = held.orderID
		}
	}
	return c
}

// RecordLooks implements provision.LookStore.
func (m *Memory) RecordLooks(_ context.Context, batch []provision.LookResult) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range batch {
		r := m.requests[l.RequestID]
		if l.Adopt == nil || r == nil || r.fence != l.Fence || r.state != provision.Creating {
			continue
		}
		taken, held := m.instances[l.Adopt.ID], m.held(r.ID)
		if taken != nil && taken.requestID != r.ID || held != nil && held.id != l.Adopt.ID && held.id != l.Gone {
			return fmt.Errorf("%w: it is there already", provision.ErrUnstorable)
		}
	}
	for _, l := range batch {
		if r := m.requests[l.RequestID]; r != nil && r.fence == l.Fence && r.state == provision.Creating {
			m.recordLook(r, l)
		}
	}
	return nil
}

func (m *Memory) recordLook(r *request, l provision.LookResult) {
	wished, before := !r.cancelWished.IsZero(), r.waitingFor
	callable := l.Next.State == provision.Pending && !l.Next.LookFirst
	renewed := r.renewMark && callable
	state := l.Next.State
	if wished && callable {
		state = provision.Cancelled
	}
	held := l.Namesakes != nil && !wished && m.nameHeld(r)
	r.claimedBy, r.waitingFor, r.due = "", l.Next.WaitingFor, m.now().Add(l.Next.Delay)
	if held {
		r.waitingFor, r.due = provision.NamesakeWait, m.now().Add(provision.NamesakeDelay)
	}
	if l.Unsent && !r.firstAttempt.IsZero() {
		r.waited += l.Next.Delay
	}
	if l.Namesakes != nil && !held {
		r.namesakes = l.Namesakes
	}
	if renewed && !held {
		r.mark, r.settledAttempts = m.newMark(), r.attempts
	}
	r.renewMark = r.renewMark && (state == provision.Pending || state == provision.Creating) && (held || !renewed)
	if l.Failure != nil {
		r.failure = provision.Failure{Code: cmp.Or(l.Failure.Code, r.failure.Code), Message: cmp.Or(l.Failure.Message, r.failure.Message),
			Class: cmp.Or(l.Failure.Class, r.failure.Class)}
	}
	r.lookFirst = state == provision.Pending && (l.Next.LookFirst || held || wished)
	m.enter(r, state)
	m.adopt(r, l)
	m.tellLook(r, l, r.waitingFor != "" && r.waitingFor == before)
}

func (m *Memory) adopt(r *request, l provision.LookResult) {
	if gone := m.instances[l.Gone]; gone != nil && gone.requestID == r.ID && gone.gone.IsZero() {
		gone.gone, gone.due, gone.status = m.now(), time.Time{}, "deleted"
	}
	for _, o := range l.Orphans {
		m.orphans[o.ID] = o
	}
	if l.Adopt == nil {
		return
	}
	status := cmp.Or(l.Adopt.Status, "unknown")
	if known := m.instances[l.Adopt.ID]; known != nil {
		known.due, known.status, known.gone = m.now(), status, time.Time{}
		return
	}
	m.instances[l.Adopt.ID] = &instance{id: l.Adopt.ID, requestID: r.ID, projectID: r.ProjectID, adopted: true, status: status, updated: m.now(),
		due: m.now(), created: m.now(), seen: m.now()}
}

func (m *Memory) tellLook(r *request, l provision.LookResult, sameWait bool) {
	if r.state == provision.Building || r.state == provision.Failed {
		if m.lastState(r.ID) == provision.Pending {
			m.tell(r.ID, "looking", provision.Creating, nil)
		}
	}
	if sameWait {
		return
	}
	kind := l.Kind
	if r.state == provision.Failed || r.state == provision.Cancelled {
		kind = string(r.state)
	}
	m.tell(r.ID, kind, r.state, func(e *provision.Event) {
		if l.Failure != nil {
			e.Error = eventError(*l.Failure)
		}
		if e.InstanceID = l.Gone; l.Adopt != nil {
			e.InstanceID = l.Adopt.ID
		}
	})
}

func (m *Memory) lastState(requestID string) (last provision.State) {
	for _, e := range m.events {
		if e.RequestID == requestID && e.Concerns == 0 {
			last = e.State
		}
	}
	return last
}

// nameHeld reports whether another open request holds the name.
func (m *Memory) nameHeld(r *request) bool {
	for _, o := range m.requests {
		if o != r && o.ProjectID == r.ProjectID && o.Name == r.Name && o.namesakes != nil && !o.state.Ended() {
			return true
		}
	}
	return false
}

// NoteMarksSeen implements provision.LookStore and provision.PollStore.
func (m *Memory) NoteMarksSeen(_ context.Context, projectID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.marksSeen[projectID] {
		return nil
	}
	m.marksSeen[projectID] = true
	for _, r := range m.requests {
		if r.ProjectID == projectID && r.state == provision.Pending && r.lookFirst && r.attempts == 0 && r.cancelWished.IsZero() && !r.renewMark {
			r.lookFirst = false
			if r.looks > 0 {
				r.waitingFor = ""
			}
			if r.due.After(m.now()) {
				r.due = m.now()
			}
		}
	}
	return nil
}

// KnownInstances implements provision.LookStore.
func (m *Memory) KnownInstances(_ context.Context, ids []string) (map[string]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := map[string]bool{}
	for id := range m.instances {
		if slices.Contains(ids, id) {
			known[id] = true
		}
	}
	return known, nil
}
