package provision

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// This file decides how the instance of a request that is to be cancelled goes:
// pure functions, no I/O.

// AfterReread returns what a fresh read of the instance by its id means for a
// request that is to be cancelled, and whether its deletion may be asked for now.
func (p Policy) AfterReread(c PollClaim, seen Poll) (r PollResult, remove bool) {
	r = PollResult{RequestID: c.RequestID, InstanceID: c.InstanceID, JobID: c.JobID, JobStatus: c.JobStatus, Progress: c.Progress,
		State: Building, Delay: p.pace(c.DeleteAge), WaitingFor: c.WaitingFor, Instance: seen.Instance, Cancelling: true}
	switch i := seen.Instance; {
	case errors.Is(seen.Err, errNotReached):
		r.Delay = min(r.Delay, time.Second)
	case seen.Err != nil:
		r.Delay = p.deleteDelay(c)
		if notSent(seen.Err) || errors.Is(seen.Err, errNoSlot) {
			r.Delay = handBack()
		}
		r.WaitingFor = "instance " + c.InstanceID + " to be read, after: " + seen.Err.Error()
	case i == nil && c.OrderID != "" && !c.Seen:
		r.fail(ClassLost, fmt.Sprintf("order %s cannot be cancelled here: its instance %s is not listed, because the order waits to be paid or is being delivered – cancel it in the console",
			c.OrderID, c.InstanceID))
	case i == nil && !c.Settled:
		r.WaitingFor = "proof that instance " + c.InstanceID + " is gone: lists may lag, so it is looked for again"
	case i == nil && !c.Deleting && !c.Missed: // one answer may be wrong, and nobody deleted it
		r.Gone, r.WaitingFor = true, c.secondLook()
	case i == nil:
		r.State, r.Gone = Cancelled, true
	case slices.Contains(i.Actions, ActionDelete):
		r.WaitingFor = "the deletion of instance " + c.InstanceID
	case c.CancelAge > p.BuildDeadline:
		r.fail(ClassLost, fmt.Sprintf("cancelled, but instance %s could not be deleted within %s (status %s) – it costs money: delete it in the console; last: %s",
			c.InstanceID, p.BuildDeadline, i.Status, orUnknown(c.WaitingFor)))
	case !c.Named && i.Tags[TagRequest] != c.Mark: // a named one may have a mark from before a retry
		r.fail(ClassForbidden, fmt.Sprintf("cancelled, but instance %s does not carry the mark of this request, so it is not deleted – delete it if it is not wanted", c.InstanceID))
	case c.Deleting && c.DeleteAge < p.VisibilityWindow:
		r.WaitingFor = "the deletion of instance " + c.InstanceID
	default:
		return r, true
	}
	return r, false
}

// AfterDelete returns what the answer to a deletion means, after the reread that
// allowed it. Only another reread confirms it.
func (p Policy) AfterDelete(c PollClaim, r PollResult, cloudRequest string, err error) PollResult {
	r.CloudRequestID = cloudRequest
	if err == nil {
		r.Deleting, r.WaitingFor = true, "the deletion of instance "+c.InstanceID
		return r
	}
	ce := AsCloudError(err)
	r.CloudRequestID = ce.RequestID
	switch ce.Class {
	case ClassGone:
	case ClassInvalid, ClassForbidden, ClassQuota, ClassConflict, ClassNotOffered:
		r.State, r.Failure = Failed, failureOf(ce, ce.Class)
		r.Failure.Message = fmt.Sprintf("cancelled, but the cloud does not delete instance %s: %s – delete it in the console, or unsubscribe from it if it is prepaid", c.InstanceID, ce.Message)
	case ClassNotSent:
		r.Delay = handBack()
	default:
		r.Delay = max(p.deleteDelay(c), min(ce.RetryAfter, 10*p.RetryMax))
	}
	r.WaitingFor = "instance " + c.InstanceID + " to be deleted, after: " + ce.Error()
	return r
}

// secondLook is what is waited for where one look did not find an instance that nobody
// here has deleted.
func (c PollClaim) secondLook() string {
	return "a second look whether instance " + c.InstanceID + " is gone: the last one did not find it"
}

// deleteDelay is the wait before the deletion is tried again: exponential in the
// time since the wish, so that nothing has to be counted.
func (p Policy) deleteDelay(c PollClaim) time.Duration {
	n := 1
	for past := p.RetryMin; past < min(c.CancelAge, p.RetryMax); past *= 2 {
		n++
	}
	return expDelay(p.RetryMin, p.RetryMax, n)
}
