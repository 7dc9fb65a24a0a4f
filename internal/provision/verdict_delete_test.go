package provision

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestHowACancelledInstanceGoes(t *testing.T) {
	p := DefaultPolicy()
	named := PollClaim{RequestID: "r", InstanceID: "i", Mark: mark, Named: true, Settled: true, Cancelling: true, CancelAge: time.Minute}
	adopted, young, unpaid, late, deleting, forgotten, lateAdopted := named, named, named, named, named, named, named
	adopted.Named = false
	missed := named
	missed.Missed = true
	young.Settled = false
	unpaid.OrderID = "CS1"
	late.CancelAge = p.BuildDeadline + 1
	deleting.Deleting = true
	forgotten.Deleting, forgotten.DeleteAge = true, p.VisibilityWindow+1
	lateAdopted.Named, lateAdopted.CancelAge = false, late.CancelAge
	paid := unpaid
	paid.Seen, paid.Missed = true, true
	late.Missed = true
	is := func(status, mark string, actions ...string) Poll {
		return Poll{Instance: &Instance{ID: "i", Status: status, Actions: actions, Tags: map[string]string{TagRequest: mark}}}
	}
	tests := []struct {
		name   string
		claim  PollClaim
		seen   Poll
		remove bool
		state  State
		says   string // what it waits for, or why it failed
	}{
		{"named by an answer to our call, whatever its tags", named, is("normal", ""), true, Building, ""},
		{"named by an answer, with the mark from before a retry", named, is("normal", otherMark), true, Building, ""},
		{"while it is being created", named, is("creating", mark, "CREATE"), true, Building, ""},
		{"adopted, with our mark", adopted, is("createfail", mark), true, Building, ""},
		{"adopted, without a mark", adopted, is("normal", ""), false, Failed, "instance i does not carry the mark"},
		{"adopted, with another mark", adopted, is("normal", otherMark), false, Failed, "instance i does not carry the mark"},
		{"not found", named, Poll{Absent: true}, false, Building, "a second look whether instance i is gone"},
		{"not found twice", missed, Poll{Absent: true}, false, Cancelled, ""},
		{"not found, and there again", missed, is("normal", mark), true, Building, ""},
		{"gone after its deletion was accepted", deleting, Poll{}, false, Cancelled, ""},
		{"not listed yet", young, Poll{}, false, Building, "proof that instance i is gone"},
		{"an order that is not delivered", unpaid, Poll{}, false, Failed, "order CS1 cannot be cancelled"},
		{"a delivered order that somebody unsubscribed from", paid, Poll{}, false, Cancelled, ""},
		{"being deleted", named, is("normal", mark, ActionDelete), false, Building, "the deletion of instance i"},
		{"accepted, and not seen to begin", deleting, is("normal", mark), false, Building, "the deletion of instance i"},
		{"accepted, and forgotten by the cloud", forgotten, is("normal", mark), true, Building, ""},
		{"too late", late, is("creating", mark), false, Failed, "instance i could not be deleted within 2h"},
		{"too late, but gone", late, Poll{}, false, Cancelled, ""},
		{"it could not be read", late, Poll{Err: &CloudError{Op: "list instances", Class: ClassServer, Message: "no"}}, false, Building, "after: list instances"},
		{"it was not reached", late, Poll{Err: errNotReached}, false, Building, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, remove := p.AfterReread(tt.claim, tt.seen)
			if remove != tt.remove || r.State != tt.state || !r.Cancelling || r.Gone != (tt.seen.Instance == nil && tt.seen.Err == nil && tt.claim.Settled && tt.state != Failed) {
				t.Errorf("remove %v, %+v", remove, r)
			}
			said := r.WaitingFor
			if r.Failure != nil {
				said = r.Failure.Message
			}
			if !strings.Contains(said, tt.says) || (r.State == Failed) != (r.Failure != nil) {
				t.Errorf("it says %q, want %q", said, tt.says)
			}
			if r.State != Building && !CanGo(Building, r.State) {
				t.Errorf("no step from building to %s", r.State)
			}
		})
	}
}

func TestWhatAnAnswerToADeletionMeans(t *testing.T) {
	p := DefaultPolicy()
	c := PollClaim{RequestID: "r", InstanceID: "i", CancelAge: time.Minute}
	for class, want := range map[Class]State{ClassGone: Building, ClassBusy: Building, ClassRate: Building, ClassServer: Building, ClassLost: Building,
		ClassAuth: Building, ClassNotSent: Building, ClassInvalid: Failed, ClassForbidden: Failed, ClassQuota: Failed} {
		r := p.AfterDelete(c, PollResult{State: Building, Delay: p.PollInterval}, "", &CloudError{Op: "delete instance", Class: class, Code: "X", Message: "why", RequestID: "cr", RetryAfter: 90 * time.Second})
		if r.State != want || r.Deleting || r.CloudRequestID != "cr" {
			t.Errorf("%s: %+v", class, r)
		}
		if r.State == Building && (r.Delay <= 0 || !strings.Contains(r.WaitingFor, "instance i to be deleted")) {
			t.Errorf("%s: in %s, waits for %q", class, r.Delay, r.WaitingFor)
		}
		if later := class == ClassBusy || class == ClassRate; later && r.Delay < 90*time.Second {
			t.Errorf("%s: the cloud asked for 90 s and gets %s", class, r.Delay)
		}
		if r.State == Failed && (r.Failure.Code != "X" || !strings.Contains(r.Failure.Message, "instance i") || !strings.Contains(r.Failure.Message, "why")) {
			t.Errorf("%s: %+v", class, r.Failure)
		}
	}
	if r := p.AfterDelete(c, PollResult{State: Building}, "cr", nil); !r.Deleting || r.State != Building {
		t.Errorf("accepted: %+v", r)
	}
	if r := p.AfterDelete(c, PollResult{State: Building}, "", errors.New("whatever")); r.Deleting || r.State != Building || r.Delay == 0 {
		t.Errorf("an error that nobody foresaw: %+v", r)
	}
}

func TestDelaysBetweenDeletionsGrow(t *testing.T) {
	p := DefaultPolicy()
	first, last := p.deleteDelay(PollClaim{}), p.deleteDelay(PollClaim{CancelAge: time.Hour})
	if first > 2*p.RetryMin || last < p.RetryMax*7/10 || last > p.RetryMax {
		t.Errorf("from %s to %s", first, last)
	}
}
