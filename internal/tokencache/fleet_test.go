package tokencache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ddsworker/internal/tokencache"
	"ddsworker/internal/tokencache/fleettest"
)

func TestConformance(t *testing.T) {
	fleettest.Conform(t, func(*testing.T) func(user, password string) tokencache.Fleet {
		return fleettest.NewMemory().Process
	})
}

// fleet is n processes that share a memory, in a bubble of fake time.
type fleet struct {
	t      *testing.T
	memory *fleettest.Memory
	caches []*tokencache.Cache
}

func newFleet(t *testing.T, n int, i tokencache.Login) *fleet {
	f := &fleet{t: t, memory: fleettest.NewMemory()}
	for range n {
		f.start(i, "p")
	}
	return f
}

func (f *fleet) start(i tokencache.Login, password string) *tokencache.Cache {
	c := tokencache.New(tokencache.Config{Login: i, Fleet: f.memory.Process("u", password)})
	f.caches = append(f.caches, c)
	return c
}

// close stands for t.Cleanup, which runs after the bubble has ended.
func (f *fleet) close() {
	for _, c := range f.caches {
		c.Close()
	}
}

// all calls Token 100 times in every process at once and fails if a call does.
func (f *fleet) all(want string) {
	f.t.Helper()
	var wg sync.WaitGroup
	for _, c := range f.caches {
		for range 100 {
			wg.Go(func() {
				if got := value(f.t, c, "a"); got != want {
					f.t.Errorf("token %q, want %q", got, want)
				}
			})
		}
	}
	wg.Wait()
}

func TestOneLoginForTheFleet(t *testing.T) {
	i := &iam{}
	i.answer = func(_ context.Context, n int64, p string) (tokencache.Token, error) {
		time.Sleep(5 * time.Second) // fake time: IAM is slow
		return number(n, p, life), nil
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20, i)
		defer f.close()
		start := time.Now()
		f.all("a-1")
		i.want(t, 1)
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("the others waited %v", took)
		}
		time.Sleep(time.Minute)
		old := get(t, f.caches[0], "a") // revoked
		var wg sync.WaitGroup
		for _, c := range f.caches {
			for range 100 {
				wg.Go(func() {
					c.Refused(old, true)
					if got := value(t, c, "a"); got != "a-2" {
						t.Errorf("after the refusal: %q", got)
					}
				})
			}
		}
		wg.Wait()
		i.want(t, 2)
		time.Sleep(10 * life)
		synctest.Wait()
		if n := i.logins.Load() - 2; n < 10 || n > 12 {
			t.Errorf("20 processes logged in %d times in ten days", n)
		}
	})
}

// TestAMinuteOfShortTokens: tokens of ten seconds, and a call of every process
// ten times a second.
func TestAMinuteOfShortTokens(t *testing.T) {
	var mu sync.Mutex
	ends := map[string]time.Time{}
	i := &iam{}
	i.answer = func(_ context.Context, n int64, p string) (tokencache.Token, error) {
		time.Sleep(50 * time.Millisecond) // fake time
		tok := number(n, p, 10*time.Second)
		mu.Lock()
		defer mu.Unlock()
		ends[tok.Reveal()] = time.Now().Add(10 * time.Second)
		return tok, nil
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20, i)
		defer f.close()
		var wg sync.WaitGroup
		for _, c := range f.caches {
			wg.Go(func() {
				for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50*time.Millisecond + rand.N(100*time.Millisecond)) {
					tok := get(t, c, "a")
					mu.Lock()
					if !time.Now().Before(ends[tok.Reveal()]) {
						t.Errorf("%s was handed out after its end", tok.Reveal())
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if n := i.logins.Load(); n > 8 {
			t.Errorf("%d logins in a minute", n)
		}
	})
}

// TestWrongPassword: a fleet of which every process asks all the time.
func TestWrongPassword(t *testing.T) {
	i := &iam{answer: func(context.Context, int64, string) (tokencache.Token, error) {
		return tokencache.Token{}, fmt.Errorf("log in: IAM.0062: %w", tokencache.ErrCredentials)
	}}
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20, i)
		defer f.close()
		ask := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
				for n, c := range f.caches {
					// Several projects, one user: one failure holds all of them back.
					if _, err := c.Token(t.Context(), []string{"a", "b", "c"}[n%3]); !errors.Is(err, tokencache.ErrCredentials) {
						t.Fatalf("Token = %v", err)
					}
				}
			}
		}
		ask(10 * time.Minute)
		if n := i.logins.Load(); n > 3 {
			t.Errorf("%d logins in the first ten minutes", n)
		}
		ask(12 * time.Hour)
		if n := i.logins.Load(); n < 12 || n > 20 {
			t.Errorf("%d logins in half a day", n)
		}
		_, err := f.caches[1].Token(t.Context(), "b")
		for _, want := range []string{"IAM.0062", "the fleet logs in again in", "another password"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		// One worker with the right password, and the whole fleet goes on.
		good := &iam{}
		value(t, f.start(good, "right"), "a")
		time.Sleep(6 * time.Second)
		for n := 0; n < 20; n += 3 { // those that ask for this project
			value(t, f.caches[n], "a")
		}
		good.want(t, 1)
	})
}

// TestWarm: a process that nobody asks ends what another failed at.
func TestWarm(t *testing.T) {
	bad := &iam{answer: func(context.Context, int64, string) (tokencache.Token, error) {
		return tokencache.Token{}, tokencache.ErrCredentials
	}}
	good := &iam{}
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, bad)
		defer f.close()
		if tok, err := f.caches[0].Token(t.Context(), "a"); err == nil {
			t.Fatalf("a wrong password brought %v", tok)
		}
		f.start(good, "right").Warm("a", "b")
		time.Sleep(6 * time.Second)
		value(t, f.caches[0], "a")
		value(t, f.caches[0], "b")
		bad.want(t, 1)
		good.want(t, 2)
	})
}

func TestReport(t *testing.T) {
	var down atomic.Bool
	i := &iam{}
	i.answer = func(_ context.Context, n int64, p string) (tokencache.Token, error) {
		if down.Load() {
			return tokencache.Token{}, tokencache.ErrCredentials
		}
		return number(n, p, life), nil
	}
	synctest.Test(t, func(t *testing.T) {
		memory := fleettest.NewMemory()
		var last error
		c := tokencache.New(tokencache.Config{Login: i, Fleet: memory.Process("u", "wrong"), Report: func(err error) { last = err }})
		defer c.Close()
		down.Store(true)
		_, _ = c.Token(t.Context(), "a")
		if !errors.Is(last, tokencache.ErrCredentials) || !strings.Contains(last.Error(), "project a") {
			t.Fatalf("reported %v", last)
		}
		// Another process succeeds: this one says so though nobody asks it.
		other := tokencache.New(tokencache.Config{Login: &iam{}, Fleet: memory.Process("u", "right")})
		defer other.Close()
		value(t, other, "a")
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if last != nil {
			t.Errorf("reported %v after another process logged in", last)
		}
	})
}

// TestDeadWinner: a process that dies in the middle of a login holds the others
// up until its lease ends, and no longer.
func TestDeadWinner(t *testing.T) {
	i := &iam{}
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 5, i)
		defer f.close()
		if _, ok, err := f.memory.Process("u", "p").Begin(t.Context(), "a", 0, 35*time.Second); !ok || err != nil {
			t.Fatal("the winner did not win", err)
		}
		start := time.Now()
		f.all("a-1")
		if took := time.Since(start); took < 35*time.Second || took > 36*time.Second {
			t.Errorf("another took over after %v", took)
		}
		i.want(t, 1)
	})
}

func TestDatabaseDown(t *testing.T) {
	i := &iam{}
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, i)
		defer f.close()
		value(t, f.caches[0], "a")
		f.memory.Break(errors.New("connection refused"))
		time.Sleep(life - time.Second) // all renewals fail
		if got := value(t, f.caches[0], "a"); got != "a-1" {
			t.Errorf("got %q", got)
		}
		for _, ask := range []func() (tokencache.Token, error){
			func() (tokencache.Token, error) { return f.caches[1].Token(t.Context(), "a") },
			func() (tokencache.Token, error) {
				time.Sleep(2 * time.Second)
				return f.caches[0].Token(t.Context(), "a")
			},
		} {
			if tok, err := ask(); err == nil || !strings.Contains(err.Error(), "database") || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("got %v, %v", tok, err)
			}
		}
		i.want(t, 1) // nobody logs in for itself
		f.memory.Break(nil)
		time.Sleep(2 * time.Second)
		f.all("a-2")
		i.want(t, 2)
	})
}

// TestTokenOutlivesAFailedSave: the database dies between login and save.
func TestTokenOutlivesAFailedSave(t *testing.T) {
	i := &iam{}
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, i)
		defer f.close()
		i.answer = func(_ context.Context, n int64, p string) (tokencache.Token, error) {
			f.memory.Break(errors.New("down"))
			time.AfterFunc(2*time.Second, func() { f.memory.Break(nil) })
			return number(n, p, life), nil
		}
		if got := value(t, f.caches[0], "a"); got != "a-1" {
			t.Error(got)
		}
		f.all("a-1") // it was saved once that worked
		i.want(t, 1)
	})
}
