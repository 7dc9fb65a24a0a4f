package provision

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAProjectWhoseCallsDoNotLeaveIsPausedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u unsent
		projects := []string{"p", "q"}
		refused := &CloudError{Class: ClassNotSent, Message: "no login"}
		want := func(what string, p int, paused, some bool) {
			t.Helper()
			most := u.most(projects)
			any := !none(projects, most)
			got, limited := most["p"]
			if limited != paused || got != p || any != some {
				t.Errorf("%s: at most %v, anything %v", what, most, any)
			}
		}
		want("at first", 0, false, true)
		for range 32 { // one round
			u.note("p", refused)
		}
		want("in its pause", 0, true, true)
		projects = projects[:1]
		want("alone in its pause", 0, true, false)
		time.Sleep(unsentMin + unsentMin/2)
		want("after its pause", 1, true, true)
		for range 10 {
			u.note("p", refused)
			time.Sleep(unsentMax / 2)
		}
		time.Sleep(unsentMax)
		u.note("p", refused)
		time.Sleep(unsentMax / 2)
		want("the pause has grown", 0, true, false)
		time.Sleep(unsentMax)
		want("the pause has an end", 1, true, true)
		u.note("p", &CloudError{Class: ClassServer})
		want("a call left", 0, false, true)
		for _, err := range []error{nil, errNotReached, &CloudError{Class: ClassNotSent, Err: errStopping}, &CloudError{Class: ClassNotSent, Code: unopened}} {
			u.note("p", err)
		}
		want("nothing of this says that calls do not leave", 0, false, true)
	})
}

func TestWhatCouldNotBeSentIsHandedBackSoon(t *testing.T) {
	p := DefaultPolicy()
	refused := &CloudError{Op: "create instance", Class: ClassNotSent, Message: "no login", Err: errors.New("refused")}
	if d := p.AfterCreate(CreateClaim{Attempt: 20}, Created{}, refused).Next.Delay; d == 0 || d > time.Second {
		t.Errorf("a create comes back after %v", d)
	}
	if d := p.LookFailed(LookClaim{Looks: 20}, refused).Next.Delay; d == 0 || d > time.Second {
		t.Errorf("a look comes back after %v", d)
	}
	if d := p.AfterPoll(PollClaim{MarksSeen: true}, Poll{Err: refused}, time.Minute).Delay; d == 0 || d > time.Second {
		t.Errorf("a poll comes back after %v", d)
	}
	if d := p.AfterCreate(CreateClaim{Attempt: 1, LastCode: unopened, Repeats: 6}, Created{},
		&CloudError{Class: ClassNotSent, Code: unopened, Limit: maxUnopened, Then: ClassInvalid}).Next.Delay; d < p.RetryMax/2 {
		t.Errorf("a password that cannot be opened is tried again after %v", d)
	}
}
