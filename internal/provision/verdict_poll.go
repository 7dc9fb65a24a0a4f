package provision

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// This file decides what a poll means: pure functions, no I/O.

// Poll is what one poll saw of an instance being built.
type Poll struct {
	Job      *Job      // nil: not read, or not known yet
	Instance *Instance // nil: not read, or not listed
	Absent   bool      // it was asked for and the cloud does not have it
	Err      error     // why something could not be read
}

// mustSee reports whether the instance itself must be read, whatever its job says:
// only a fresh look may decide that the build's time is over, and only it tells
// whether tags come back in lists.
func (p Policy) mustSee(c PollClaim) bool {
	return c.Age > p.BuildDeadline || !c.MarksSeen && c.Looks <= probeLooks
}

// probeLooks is how often a project's first instances are looked at only to
// learn whether tags come back in its lists.
const probeLooks = 5

// AfterPoll returns what a poll means for the request, which is due again after a
// delay while it is being built.
func (p Policy) AfterPoll(c PollClaim, seen Poll, next time.Duration) PollResult {
	r := PollResult{RequestID: c.RequestID, InstanceID: c.InstanceID, JobID: c.JobID,
		JobStatus: c.JobStatus, Progress: c.Progress, State: Building, Delay: next, Instance: seen.Instance,
		WaitingFor: c.waits(seen)}
	if j := seen.Job; j != nil {
		r.JobStatus, r.FailReason, r.JobCreated, r.JobEnded = j.Status, j.FailReason, j.Created, j.Ended
		r.JobID, r.Progress = j.ID, max(r.Progress, j.Progress)
	}
	if !c.MarksSeen && c.Looks < probeLooks {
		r.Delay = min(r.Delay, time.Second)
	}
	switch {
	case errors.Is(seen.Err, errNotReached):
		r.Delay = min(r.Delay, time.Second)
	case notSent(seen.Err):
		r.Delay = min(r.Delay, handBack())
	case seen.Err != nil:
		r.Delay = min(r.Delay, p.pace(c.Age))
	}
	p.judgeBuild(c, seen, &r)
	r.Changed = r.State != Building || r.Progress != c.Progress || r.JobStatus != c.JobStatus || r.JobID != c.JobID
	return r
}

func (p Policy) judgeBuild(c PollClaim, seen Poll, r *PollResult) {
	status, looked := "not known", seen.Err == nil && (seen.Instance != nil || seen.Absent)
	switch {
	case seen.Instance != nil:
		status = seen.Instance.Status
	case seen.Absent:
		status = "not listed"
	}
	switch {
	case status == InstanceNormal && len(seen.Instance.Actions) == 0 && r.JobStatus != JobFailed:
		r.State, r.Progress = Ready, 100
		if r.JobStatus == JobRunning {
			r.JobStatus = JobCompleted // its own entry was not read, or lags behind
		}
	case r.JobStatus == JobFailed:
		r.fail(ClassServer, fmt.Sprintf("the cloud's job %s failed: %s – instance %s is left as it is (status %s); delete it when you have seen it",
			r.JobID, orUnknown(r.FailReason), c.InstanceID, status))
	case status == InstanceCreateFail:
		r.fail(ClassServer, fmt.Sprintf("the cloud could not build instance %s (status createfail) – delete it when you have seen it", c.InstanceID))
	case seen.Absent && looked && c.Seen && c.Settled && !c.Missed: // one answer may be wrong
		r.Gone, r.Delay, r.WaitingFor = true, min(r.Delay, p.PollInterval), c.secondLook()
	case seen.Absent && looked && c.Seen && c.Settled:
		r.Gone = true
		r.fail(ClassGone, fmt.Sprintf("instance %s is gone: somebody deleted it while it was being built (job %s)", c.InstanceID, orUnknown(r.JobStatus)))
	case c.Age > p.BuildDeadline && looked:
		r.fail(ClassLost, fmt.Sprintf("instance %s was not ready within %s (status %s, job %s) – it may still become ready, and it costs money: look at it in the console",
			c.InstanceID, p.BuildDeadline, status, orUnknown(r.JobStatus)))
	}
}

// waits says in words what an instance being built waits for, but for its job: what
// was said before where nothing was read.
func (c PollClaim) waits(seen Poll) string {
	switch i := seen.Instance; {
	case seen.Err != nil:
		return c.WaitingFor
	case i == nil && seen.Absent && c.OrderID != "" && !c.Seen:
		return fmt.Sprintf("order %s to be paid and delivered: instance %s is not listed before", c.OrderID, c.InstanceID)
	case i == nil && seen.Absent:
		return "instance " + c.InstanceID + " to be listed"
	case i == nil, i.Status == InstanceCreating, i.Status == InstanceCreateFail:
		return ""
	case i.Status == InstanceFrozen:
		return "instance " + c.InstanceID + " to be unfrozen: the account owes, settle it"
	case i.Status != InstanceNormal:
		return fmt.Sprintf("instance %s to recover: its status is %s", c.InstanceID, i.Status)
	case len(i.Actions) > 0:
		return fmt.Sprintf("the end of %s on instance %s", strings.Join(i.Actions, ", "), c.InstanceID)
	}
	return ""
}

func (r *PollResult) fail(class Class, message string) {
	r.State, r.Failure = Failed, &Failure{Class: class, Message: message}
}

func orUnknown(s string) string {
	if s == "" {
		return "(no reason given)"
	}
	return s
}
