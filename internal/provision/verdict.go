package provision

import (
	"errors"
	"fmt"
	"time"
)

// This file decides what an answer to create means: pure functions, no I/O.

// AfterCreate returns the outcome of the claimed attempt and where the request
// goes from there. err is nil if the cloud accepted the call.
func (p Policy) AfterCreate(c CreateClaim, created Created, err error) CreateResult {
	r := CreateResult{RequestID: c.RequestID, Fence: c.Fence, Attempt: c.Attempt}
	if err == nil {
		r.Outcome, r.Created = OutcomeCreated, created
		r.Next = Next{State: Building, Delay: p.PollInterval} // unless experience knows better
		return r
	}
	ce := AsCloudError(err)
	repeats := 1
	if ce.Code != "" && ce.Code == c.LastCode {
		repeats += c.Repeats
	}
	class := ce.Meaning(repeats)
	r.Outcome = outcomeOf(class)
	r.Failure = failureOf(ce, class)
	r.Next = p.afterOutcome(c, r.Outcome, class, repeats, ce)
	return r
}

// outcomeOf is the table of what a failed create call proves.
func outcomeOf(c Class) Outcome {
	switch c {
	case ClassNotSent, ClassRate, ClassAuth:
		return OutcomeNotExecuted
	case ClassBusy:
		return OutcomeBusy
	case ClassConflict:
		return OutcomeConflict
	case ClassInvalid, ClassForbidden, ClassQuota, ClassGone, ClassNotOffered:
		return OutcomePermanent
	default: // ClassServer, ClassLost, and whatever nobody foresaw
		return OutcomeUnknown
	}
}

func (p Policy) afterOutcome(c CreateClaim, o Outcome, class Class, repeats int, ce *CloudError) Next {
	switch o {
	case OutcomeNotExecuted, OutcomeBusy:
		next := Next{State: Pending, LookFirst: o == OutcomeBusy || c.Age > p.CreateDeadline}
		// A new token may be used at once; where there may be none, the gateway gets time.
		fresh := class == ClassAuth && ce.Limit == 0 && c.LastClass != ClassAuth
		switch {
		case fresh, errors.Is(ce, errStopping):
		case errors.Is(ce, errNoSlot):
			next.Delay, next.WaitingFor = handBack(), "a slot of the rate budget: "+ce.Message
			return next
		case notSent(ce):
			next.Delay, next.WaitingFor = handBack(), "a worker whose call reaches the cloud, after: "+ce.Error()
			return next
		default:
			next.Delay = p.retryDelay(max(c.Attempt, repeats), ce.RetryAfter)
		}
		next.WaitingFor = fmt.Sprintf("the next call in %s, after: %s", next.Delay.Round(time.Second), ce.Error())
		return next
	case OutcomePermanent:
		return Next{State: Failed}
	default:
		return Next{State: Creating, Delay: p.LookMin, WaitingFor: "a look whether the call worked, after: " + ce.Error()}
	}
}

func failureOf(ce *CloudError, class Class) *Failure {
	return &Failure{Code: ce.Code, Class: class, HTTPStatus: ce.Status, CloudRequestID: ce.RequestID,
		Message: withAdvice(ce.Message, class)}
}

// withAdvice adds to the cloud's words what an operator can do.
func withAdvice(message string, c Class) string {
	advice := map[Class]string{
		ClassForbidden: "give the worker's user the right to create DDS instances in this project, then publish it again under a new id",
		ClassInvalid:   "correct the body and publish it again under a new id",
		ClassQuota:     "raise the quota or settle the account, then publish it again under a new id",
		ClassConflict:  "choose another name, or remove the instance that has it",
	}[c]
	if advice == "" {
		return message
	}
	return message + " – " + advice
}
