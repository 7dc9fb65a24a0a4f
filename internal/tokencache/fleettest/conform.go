package fleettest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ddsworker/internal/tokencache"
)

// Conform checks what a tokencache.Fleet promises. open returns an empty fleet,
// as a function that makes a process's view of it for a user and a password.
func Conform(t *testing.T, open func(t *testing.T) func(user, password string) tokencache.Fleet) {
	for name, f := range map[string]func(*testing.T, func(user, password string) tokencache.Fleet){
		"one logs in":                    oneLogsIn,
		"a token is shared":              tokenIsShared,
		"a token of its own":             tokenOfItsOwn,
		"a lease ends":                   leaseEnds,
		"an old winner changes nothing":  oldWinner,
		"a lease is given back":          leaseIsGivenBack,
		"refused credentials":            refusedCredentials,
		"other passwords do not go on":   otherPasswords,
		"other failures":                 otherFailures,
		"a success forgets all failures": successForgets,
	} {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

const projectID = "0123456789abcdef0123456789abcdef"

// side is a process's view, with calls that must not fail.
type side struct {
	t *testing.T
	tokencache.Fleet
}

func (s side) look() tokencache.Entry {
	s.t.Helper()
	e, err := s.Look(s.t.Context(), projectID)
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

func (s side) begin(lease time.Duration) (int64, bool) {
	s.t.Helper()
	n, ok, err := s.Begin(s.t.Context(), projectID, s.look().Logins, lease)
	if err != nil {
		s.t.Fatal(err)
	}
	return n, ok
}

// wins begins a login, which must be allowed.
func (s side) wins() int64 {
	s.t.Helper()
	n, ok := s.begin(time.Minute)
	if !ok {
		s.t.Fatal("nobody logs in, and yet a login cannot begin")
	}
	return n
}

func (s side) succeed(login int64, value string, life time.Duration) bool {
	s.t.Helper()
	tok := tokencache.NewToken(value, projectID, life)
	tok.Generation = login
	ok, err := s.Succeed(s.t.Context(), tok)
	if err != nil {
		s.t.Fatal(err)
	}
	return ok
}

func (s side) fail(login int64, f tokencache.Failure) {
	s.t.Helper()
	if err := s.Fail(s.t.Context(), projectID, login, f); err != nil {
		s.t.Fatal(err)
	}
}

func (s side) wantToken(value string, login int64) {
	s.t.Helper()
	if e := s.look(); e.Token.Reveal() != value || e.Token.Generation != login || value != "" && e.Token.ProjectID != projectID {
		s.t.Errorf("the token is %q of login %d, want %q of %d", e.Token.Reveal(), e.Token.Generation, value, login)
	}
}

func oneLogsIn(t *testing.T, process func(user, password string) tokencache.Fleet) {
	first := side{t, process("u", "p")}
	if e := first.look(); !e.Token.IsZero() || e.Busy || e.Failure != nil || e.Logins != 0 {
		t.Fatalf("an empty fleet: %+v", e)
	}
	var won atomic.Int64
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			_, ok, err := process("u", "p").Begin(t.Context(), projectID, 0, time.Minute)
			if err != nil {
				t.Error(err)
			}
			if ok {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if e := first.look(); won.Load() != 1 || !e.Busy || e.Logins != 1 {
		t.Fatalf("%d of 30 may log in: %+v", won.Load(), e)
	}
	if _, ok := first.begin(time.Minute); ok {
		t.Error("a second login begins beside the first")
	}
}

func tokenIsShared(t *testing.T, process func(user, password string) tokencache.Fleet) {
	a, b := side{t, process("u", "p")}, side{t, process("u", "p")}
	seen := a.look().Logins
	login := a.wins()
	if !a.succeed(login, "first", time.Hour) {
		t.Fatal("the token was not kept")
	}
	b.wantToken("first", login)
	e := b.look()
	if e.Busy || e.Token.Life.Round(time.Second) != time.Hour || e.Age < 0 || e.Age > 30*time.Second {
		t.Errorf("%+v, a life of %v", e, e.Token.Life)
	}
	if _, ok, err := b.Begin(t.Context(), projectID, seen, time.Minute); ok || err != nil {
		t.Errorf("who has not seen the new token logs in: %v, %v", ok, err)
	}
	next := b.wins()
	a.wantToken("first", login) // it serves while it is renewed
	b.succeed(next, "second", time.Hour)
	a.wantToken("second", next)
	if next <= login {
		t.Errorf("login %d came after login %d", next, login)
	}
}

func tokenOfItsOwn(t *testing.T, process func(user, password string) tokencache.Fleet) {
	a, other := side{t, process("u", "p")}, side{t, process("other", "p")}
	a.succeed(a.wins(), "mine", time.Hour)
	other.wantToken("", 0)
	if e, err := a.Look(t.Context(), "elsewhere"); err != nil || !e.Token.IsZero() {
		t.Errorf("another project has %+v, %v", e, err)
	}
	other.succeed(other.wins(), "theirs", time.Hour)
	a.wantToken("mine", 1)
}

func leaseEnds(t *testing.T, process func(user, password string) tokencache.Fleet) {
	a, b := side{t, process("u", "p")}, side{t, process("u", "p")}
	if _, ok := a.begin(300 * time.Millisecond); !ok {
		t.Fatal("no lease")
	}
	if _, ok := b.begin(time.Minute); ok {
		t.Fatal("two leases")
	}
	eventually(t, "the lease of a dead winner ends", func() bool { return !b.look().Busy })
	b.succeed(b.wins(), "taken over", time.Hour)
	a.wantToken("taken over", 2)
}

func oldWinner(t *testing.T, process func(user, password string) tokencache.Fleet) {
	a, b := side{t, process("u", "p")}, side{t, process("u", "p")}
	old, _ := a.begin(50 * time.Millisecond)
	eventually(t, "the lease ends", func() bool { return !b.look().Busy })
	login := b.wins()
	if a.succeed(old, "late", time.Hour) {
		t.Error("a token of a lost lease was kept")
	}
	a.fail(old, tokencache.Failure{Message: "late", Pause: time.Hour})
	if e := b.look(); !e.Busy || e.Failure != nil || !e.Token.IsZero() {
		t.Errorf("an old winner changed %+v", e)
	}
	b.succeed(login, "in time", time.Hour)
	a.fail(old, tokencache.Failure{Message: "late", Credentials: true, Pause: time.Hour})
	if e := a.look(); e.Failure != nil || e.Refusals != 0 {
		t.Errorf("an old winner changed %+v", e)
	}
	a.wantToken("in time", login)
}

func leaseIsGivenBack(t *testing.T, process func(user, password string) tokencache.Fleet) {
	a := side{t, process("u", "p")}
	a.fail(a.wins(), tokencache.Failure{})
	if e := a.look(); e.Busy || e.Failure != nil || e.Failures != 0 || e.Refusals != 0 {
		t.Errorf("%+v", e)
	}
	a.wins()
}

func refusedCredentials(t *testing.T, process func(user, password string) tokencache.Fleet) {
	wrong, same, right := side{t, process("u", "wrong")}, side{t, process("u", "wrong")}, side{t, process("u", "right")}
	wrong.fail(wrong.wins(), tokencache.Failure{Message: "wrong password", Credentials: true, Pause: time.Minute})
	e := same.look()
	if e.Failure == nil || !errors.Is(e.Failure, tokencache.ErrCredentials) || e.Failure.Message != "wrong password" || e.Refusals != 1 || e.Failures != 0 {
		t.Fatalf("%+v", e)
	}
	if p := e.Failure.Pause; p <= 30*time.Second || p > time.Minute {
		t.Errorf("the pause is %v of a minute", p)
	}
	if e, err := same.Look(t.Context(), "elsewhere"); err != nil || e.Failure == nil {
		t.Errorf("for another project of the user: %+v, %v", e, err)
	}
	if e := right.look(); e.Failure != nil || e.Refusals != 1 {
		t.Errorf("another password has to wait: %+v", e)
	}
	right.succeed(right.wins(), "good", time.Hour)
	same.wantToken("good", 2)
}

func otherPasswords(t *testing.T, process func(user, password string) tokencache.Fleet) {
	tried := 0
	for n := range 10 {
		s := side{t, process("u", fmt.Sprintf("guess %d", n%5))}
		if s.look().Failure == nil {
			tried++
			s.fail(s.wins(), tokencache.Failure{Message: "no", Credentials: true, Pause: time.Hour})
		}
	}
	if tried != tokencache.MaxPasswords {
		t.Errorf("%d logins with five passwords in turn, want %d", tried, tokencache.MaxPasswords)
	}
}

func otherFailures(t *testing.T, process func(user, password string) tokencache.Fleet) {
	a, b := side{t, process("u", "p")}, side{t, process("u", "other")}
	for n := range 2 {
		pause := 300 * time.Millisecond
		a.fail(a.wins(), tokencache.Failure{Message: "HTTP 503", Pause: pause})
		e := b.look()
		if e.Failure == nil || errors.Is(e.Failure, tokencache.ErrCredentials) || e.Failures != n+1 || e.Refusals != 0 || e.Failure.Pause > pause {
			t.Fatalf("%+v", e)
		}
		if e, err := b.Look(t.Context(), "elsewhere"); err != nil || e.Failure != nil {
			t.Errorf("for another project: %+v, %v", e, err)
		}
		eventually(t, "the pause ends", func() bool { return b.look().Failure == nil })
	}
}

func successForgets(t *testing.T, process func(user, password string) tokencache.Fleet) {
	a, b := side{t, process("u", "wrong")}, side{t, process("u", "right")}
	a.fail(a.wins(), tokencache.Failure{Message: "no", Credentials: true, Pause: time.Hour})
	b.fail(b.wins(), tokencache.Failure{Message: "HTTP 503", Pause: time.Nanosecond})
	eventually(t, "the pause ends", func() bool { return b.look().Failure == nil })
	b.succeed(b.wins(), "good", time.Hour)
	if e := a.look(); e.Failure != nil || e.Failures != 0 || e.Refusals != 0 {
		t.Errorf("%+v", e)
	}
}

// eventually waits until something is so, and fails after a deadline.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}
