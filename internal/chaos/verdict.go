package chaos

import (
	"fmt"
	"slices"
	"time"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

// finding is something that must not be.
type finding struct {
	RequestID string
	What      string
}

// judgement is what the evidence shows.
type judgement struct {
	Findings   []finding
	Ends       map[string]int // requests by state
	Attempts   int
	Adopted    int
	Live       int // instances of the cloud
	Duplicates int // instances beyond the first of a request, orphans aside
	Lost       int
	Orphans    int
	Late       int // calls that arrived after their lease had ended
}

// judge compares what the workers say with what the publisher and the cloud know.
func (e *evidence) judge() judgement {
	j := judgement{Ends: map[string]int{}, Orphans: len(e.Orphans)}
	byMark := map[string][]ddsfake.Instance{}
	byID := map[string]ddsfake.Instance{}
	for _, i := range e.Cloud {
		byMark[markOf(i.Tags)] = append(byMark[markOf(i.Tags)], i)
		byID[i.ID] = i
		if i.DeletedAt == nil {
			j.Live++
		}
	}
	calls := map[string][]createCall{}
	for _, c := range e.Calls {
		calls[c.Mark] = append(calls[c.Mark], c)
	}
	holder := map[string]string{}
	for _, id := range e.Acked {
		if e.Requests[id] == nil || e.Requests[id].State == "" {
			j.Lost++
			j.find(id, "was acknowledged and is not in the database")
		}
	}
	for id, h := range e.Requests {
		if h.State == "" {
			j.find(id, "only a rejection or events are known of it")
			continue
		}
		j.Ends[h.State]++
		j.Attempts += len(h.Attempts)
		if !provision.State(h.State).Ended() {
			j.Lost++
			j.find(id, "has not ended: it is %s", h.State)
		}
		if h.Rejections < e.Reused[id] {
			j.find(id, "another body came %d times under its id and %d refusals are recorded", e.Reused[id], h.Rejections)
		}
		e.instances(&j, h, byMark[h.Mark], byID, holder)
		e.explained(&j, h, calls[h.Mark])
		delete(calls, h.Mark)
		e.path(&j, h)
	}
	for mark, unknown := range calls {
		j.find("", "%d create calls bear the mark %q, which no request has", len(unknown), mark)
	}
	slices.SortFunc(j.Findings, func(a, b finding) int { return compare(a.RequestID, b.RequestID, a.What, b.What) })
	return j
}

func compare(a, b, x, y string) int {
	if a != b {
		x, y = a, b
	}
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func (j *judgement) find(id, format string, args ...any) {
	j.Findings = append(j.Findings, finding{id, fmt.Sprintf(format, args...)})
}

// instances: at most one of a request but for recorded orphans, and what is
// handed out is the cloud's, the request's and nobody else's.
func (e *evidence) instances(j *judgement, h *history, ever []ddsfake.Instance, byID map[string]ddsfake.Instance, holder map[string]string) {
	held := ""
	for _, i := range h.Instances {
		if i.Adopted {
			j.Adopted++
		}
		if i.Gone {
			continue
		}
		held = i.InstanceID
		truth, exists := byID[i.InstanceID]
		switch other := holder[held]; {
		case other != "":
			j.find(h.ID, "holds instance %s, which request %s holds too", held, other)
		case !exists:
			j.find(h.ID, "holds instance %s, which the cloud never made", held)
		case markOf(truth.Tags) != h.Mark:
			j.find(h.ID, "holds instance %s, which bears the mark %q and not its own", held, markOf(truth.Tags))
		case truth.DeletedAt != nil && h.State == "ready":
			j.find(h.ID, "is ready with instance %s, which was deleted", held)
		}
		if _, orphan := e.Orphans[held]; orphan {
			j.find(h.ID, "holds instance %s, which is recorded as an orphan", held)
		}
		holder[held] = h.ID
	}
	if h.State == "ready" && held == "" {
		j.find(h.ID, "is ready and holds no instance")
	}
	for _, i := range ever {
		_, orphan := e.Orphans[i.ID]
		known := slices.ContainsFunc(h.Instances, func(o handedOut) bool { return o.InstanceID == i.ID })
		if !orphan && h.State == "cancelled" && i.DeletedAt == nil {
			j.find(h.ID, "is cancelled, and its instance %s lives", i.ID)
		}
		if !orphan && !known {
			j.Duplicates++
			j.find(h.ID, "the cloud made instance %s for it, which is neither its own nor an orphan", i.ID)
		}
	}
}

// explained: every call that the cloud saw is an attempt's, intended before. One that
// was held up on its way for longer than its lease is counted: it may lead to a
// surplus instance, which must be an orphan then.
func (e *evidence) explained(j *judgement, h *history, calls []createCall) {
	named := map[string]bool{}
	var open []attempt
	for _, a := range h.Attempts {
		switch {
		case a.CloudRequestID != "":
			named[a.CloudRequestID] = true
		case a.Class != "not_sent":
			open = append(open, a)
		}
	}
	for _, c := range calls {
		if named[c.RequestID] {
			continue
		}
		at := slices.IndexFunc(open, func(a attempt) bool {
			return !c.At.Before(a.IntendedAt.Add(-time.Second))
		})
		if at < 0 {
			j.find(h.ID, "no attempt explains the create call %s at %s", c.RequestID, c.At.UTC().Format(time.StampMilli))
			continue
		}
		if c.At.After(open[at].IntendedAt.Add(e.Lease)) {
			j.Late++
		}
		open = slices.Delete(open, at, at+1)
	}
}

// path: its events are a way through the state machine, its last one is where it
// is, and the stream has them all in their order.
func (e *evidence) path(j *judgement, h *history) {
	was := ""
	var ids []int64
	for _, v := range h.Events {
		ids = append(ids, v.ID)
		switch {
		case was == "" && v.State != "pending":
			j.find(h.ID, "its first event says %s", v.State)
		case was != "" && was != v.State && !provision.CanGo(provision.State(was), provision.State(v.State)):
			j.find(h.ID, "event %d says %s after %s, which is no step of the state machine", v.ID, v.State, was)
		}
		was = v.State
	}
	if was != h.State {
		j.find(h.ID, "is %s, and its last event says %q", h.State, was)
	}
	if !e.EventsLost && !slices.Equal(ids, h.Published) {
		j.find(h.ID, "has the events %v, and the stream has %v", ids, h.Published)
	}
}
