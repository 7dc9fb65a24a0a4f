package provision

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestWhatAnAnswerToCreateMeans(t *testing.T) {
	p := DefaultPolicy()
	tests := []struct {
		class     Class
		outcome   Outcome
		next      State
		lookFirst bool
		atOnce    bool
	}{
		{ClassNotSent, OutcomeNotExecuted, Pending, false, false},
		{ClassRate, OutcomeNotExecuted, Pending, false, false},
		{ClassAuth, OutcomeNotExecuted, Pending, false, true},
		{ClassBusy, OutcomeBusy, Pending, true, false},
		{ClassConflict, OutcomeConflict, Creating, false, false},
		{ClassServer, OutcomeUnknown, Creating, false, false},
		{ClassLost, OutcomeUnknown, Creating, false, false},
		{"never heard of", OutcomeUnknown, Creating, false, false},
		{ClassInvalid, OutcomePermanent, Failed, false, true},
		{ClassForbidden, OutcomePermanent, Failed, false, true},
		{ClassQuota, OutcomePermanent, Failed, false, true},
		{ClassGone, OutcomePermanent, Failed, false, true},
		{ClassNotOffered, OutcomePermanent, Failed, false, true},
	}
	for _, tt := range tests {
		r := p.AfterCreate(CreateClaim{RequestID: "r", Fence: 3, Attempt: 1}, Created{}, &CloudError{Op: "create", Class: tt.class, Message: "why", RequestID: "cr"})
		if r.Outcome != tt.outcome || r.Next.State != tt.next || r.Next.LookFirst != tt.lookFirst || (r.Next.Delay == 0) != tt.atOnce {
			t.Errorf("%s: %s, next %+v; want %s, %s, look first %v, at once %v", tt.class, r.Outcome, r.Next, tt.outcome, tt.next, tt.lookFirst, tt.atOnce)
		}
		if r.Failure == nil || !strings.HasPrefix(r.Failure.Message, "why") || r.Failure.CloudRequestID != "cr" || r.Fence != 3 {
			t.Errorf("%s: what the cloud said is lost: %+v", tt.class, r)
		}
		if !CanGo(Creating, r.Next.State) {
			t.Errorf("%s: the state machine has no step from creating to %s", tt.class, r.Next.State)
		}
		if r.Next.State != Failed && r.Next.WaitingFor == "" {
			t.Errorf("%s: it does not say what it waits for", tt.class)
		}
	}
	if r := p.AfterCreate(CreateClaim{}, Created{InstanceID: "i"}, nil); r.Outcome != OutcomeCreated || r.Next.State != Building || r.Failure != nil {
		t.Errorf("accepted: %+v", r)
	}
	if r := p.AfterCreate(CreateClaim{}, Created{}, errors.New("whatever")); r.Outcome != OutcomeUnknown {
		t.Errorf("an error that nobody foresaw was taken for %s", r.Outcome)
	}
}

func TestAClassThatHoldsOnlySoOften(t *testing.T) {
	p := DefaultPolicy()
	denied := &CloudError{Class: ClassAuth, Limit: 1, Then: ClassForbidden, Code: "DBS.280015"}
	if r := p.AfterCreate(CreateClaim{LastCode: "DBS.200998", Repeats: 7}, Created{}, denied); r.Next.State != Pending {
		t.Errorf("the first time it is about the token: %+v", r.Next)
	}
	if r := p.AfterCreate(CreateClaim{}, Created{}, denied); r.Next.Delay < p.RetryMin/2 {
		t.Errorf("the token may be in order, and the next call comes after %v", r.Next.Delay)
	}
	if r := p.AfterCreate(CreateClaim{LastCode: "DBS.280015", Repeats: 1}, Created{}, denied); r.Next.State != Failed || r.Failure.Class != ClassForbidden {
		t.Errorf("the second time it is about rights: %+v", r)
	}
}

func TestATokenThatIsRefusedAgainIsNotTriedInALoop(t *testing.T) {
	p := DefaultPolicy()
	refused := &CloudError{Class: ClassAuth, Status: 401}
	if r := p.AfterCreate(CreateClaim{Attempt: 1}, Created{}, refused); r.Next.Delay != 0 {
		t.Errorf("a new token waits %v", r.Next.Delay)
	}
	if r := p.AfterCreate(CreateClaim{Attempt: 2, LastClass: ClassAuth}, Created{}, refused); r.Next.Delay < p.RetryMin/2 {
		t.Errorf("refused again, and the next call comes after %v", r.Next.Delay)
	}
}

func TestDelays(t *testing.T) {
	p := DefaultPolicy()
	for n := range 100 {
		if d := p.retryDelay(n, 0); d < p.RetryMin*7/10 || d > p.RetryMax {
			t.Errorf("delay %d is %v, beyond %v and %v", n, d, p.RetryMin, p.RetryMax)
		}
	}
	if d := p.retryDelay(1, 40*time.Second); d != 40*time.Second {
		t.Errorf("the cloud asked for 40 s and got %v", d)
	}
	if d := p.retryDelay(1, 24*time.Hour); d != 10*p.RetryMax {
		t.Errorf("the cloud asked for a day and got %v", d)
	}
}

func TestPastTheDeadlineALookComesFirst(t *testing.T) {
	p := DefaultPolicy()
	r := p.AfterCreate(CreateClaim{Attempt: 9, Age: p.CreateDeadline + 1}, Created{}, &CloudError{Class: ClassRate})
	if r.Next.State != Pending || !r.Next.LookFirst {
		t.Errorf("%+v: no deadline ends a request without a look", r.Next)
	}
}

func TestAWorkerThatStopsGivesItsClaimBackAtOnce(t *testing.T) {
	c := &Creator{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.call(ctx, t.Context(), CreateClaim{}, storedSpec{})
	r := DefaultPolicy().AfterCreate(CreateClaim{Attempt: 5}, Created{}, err)
	if r.Outcome != OutcomeNotExecuted || r.Next.State != Pending || r.Next.Delay != 0 {
		t.Errorf("%+v", r)
	}
}
