package tokencache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ddsworker/internal/tokencache"
	"ddsworker/internal/tokencache/fleettest"
)

const life = 24 * time.Hour

// iam counts logins; answer, when set, decides one.
type iam struct {
	logins atomic.Int64
	answer func(ctx context.Context, n int64, projectID string) (tokencache.Token, error)
}

func (i *iam) Login(ctx context.Context, projectID string) (tokencache.Token, error) {
	n := i.logins.Add(1)
	if i.answer != nil {
		return i.answer(ctx, n, projectID)
	}
	return number(n, projectID, life), nil
}

func number(n int64, projectID string, life time.Duration) tokencache.Token {
	return tokencache.NewToken(fmt.Sprintf("%s-%d", projectID, n), projectID, life)
}

// bubble runs f with a cache on i, alone in its fleet, in a bubble of fake time.
func bubble(t *testing.T, i *iam, f func(t *testing.T, c *tokencache.Cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := tokencache.New(tokencache.Config{Login: i, Fleet: fleettest.NewMemory().Process("u", "p")})
		defer c.Close()
		f(t, c)
	})
}

func get(t *testing.T, c *tokencache.Cache, projectID string) tokencache.Token {
	t.Helper()
	tok, err := c.Token(t.Context(), projectID)
	if err != nil {
		t.Errorf("Token(%s): %v", projectID, err)
	}
	return tok
}

func value(t *testing.T, c *tokencache.Cache, projectID string) string {
	t.Helper()
	return get(t, c, projectID).Reveal()
}

func (i *iam) want(t *testing.T, logins int64) {
	t.Helper()
	if got := i.logins.Load(); got != logins {
		t.Fatalf("after %v: %d logins, want %d", time.Now().UTC().Format(time.TimeOnly), got, logins)
	}
}

func TestOneLoginForAll(t *testing.T) {
	i := &iam{}
	i.answer = func(_ context.Context, n int64, p string) (tokencache.Token, error) {
		time.Sleep(time.Second) // fake time: IAM takes a second
		return number(n, p, life), nil
	}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() {
				p := []string{"a", "b"}[n%2]
				if got := value(t, c, p); got != p+"-1" && got != p+"-2" {
					t.Errorf("token %q for %s", got, p)
				}
			})
		}
		wg.Wait()
		i.want(t, 2) // one for each project
	})
}

func TestLoginOutlivesItsCaller(t *testing.T) {
	i := &iam{}
	i.answer = func(ctx context.Context, n int64, p string) (tokencache.Token, error) {
		select {
		case <-time.After(5 * time.Second):
			return number(n, p, life), nil
		case <-ctx.Done():
			return tokencache.Token{}, ctx.Err()
		}
	}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.Token(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Token = %v, want the caller's deadline", err)
		}
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("the caller waited %v", waited)
		}
		if got := value(t, c, "a"); got != "a-1" {
			t.Errorf("the second caller got %q, want the first login's token", got)
		}
		i.want(t, 1)
	})
}

func TestLoginHasItsOwnDeadline(t *testing.T) {
	i := &iam{answer: func(ctx context.Context, _ int64, _ string) (tokencache.Token, error) {
		<-ctx.Done()
		return tokencache.Token{}, ctx.Err()
	}}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		start := time.Now()
		if _, err := c.Token(t.Context(), "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Token = %v", err)
		}
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// TestASlowLoginHoldsNothingUp: a hit, also of another project, is had at once.
func TestASlowLoginHoldsNothingUp(t *testing.T) {
	i := &iam{}
	i.answer = func(_ context.Context, n int64, p string) (tokencache.Token, error) {
		if p == "slow" {
			time.Sleep(20 * time.Second)
		}
		return number(n, p, life), nil
	}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		value(t, c, "a")
		go func() { _, _ = c.Token(t.Context(), "slow") }()
		synctest.Wait()
		start := time.Now()
		value(t, c, "a")
		if d := time.Since(start); d != 0 {
			t.Errorf("a hit took %v", d)
		}
	})
}

func TestRenewedAheadInTheBackground(t *testing.T) {
	i := &iam{}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		if got := value(t, c, "a"); got != "a-1" {
			t.Fatal(got)
		}
		time.Sleep(life*9/10 - time.Second)
		i.want(t, 1)
		time.Sleep(life/20 + time.Second) // the jitter ends halfway through the last tenth
		synctest.Wait()
		i.want(t, 2)
		if got := value(t, c, "a"); got != "a-2" {
			t.Errorf("after the renewal: %q", got)
		}
		time.Sleep(10 * life)
		synctest.Wait()
		if n := i.logins.Load(); n < 11 || n > 14 {
			t.Errorf("%d logins in 11 days", n)
		}
	})
}

func TestOldTokenServesWhileRenewalFails(t *testing.T) {
	i := &iam{}
	down := errors.New("IAM is down")
	i.answer = func(_ context.Context, n int64, p string) (tokencache.Token, error) {
		if n == 1 {
			return number(n, p, life), nil
		}
		return tokencache.Token{}, down
	}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		value(t, c, "a")
		time.Sleep(life - time.Second)
		if got := value(t, c, "a"); got != "a-1" {
			t.Errorf("the old token does not serve: %q", got)
		}
		renewals := i.logins.Load() - 1
		if renewals < 100 || renewals > 300 { // every 30 s within 72 to 144 min
			t.Errorf("%d renewals were tried", renewals)
		}
		time.Sleep(2 * time.Second)
		if tok, err := c.Token(t.Context(), "a"); err == nil {
			t.Errorf("after its end: %v", tok)
		}
	})
}

func TestRefusedIsReplacedOnce(t *testing.T) {
	for _, surely := range []bool{true, false} {
		i := &iam{}
		bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
			old := get(t, c, "a")
			time.Sleep(time.Hour)
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					c.Refused(old, surely)
					if got := value(t, c, "a"); got != "a-2" {
						t.Errorf("after the refusal: %q", got)
					}
				})
			}
			wg.Wait()
			i.want(t, 2)
			time.Sleep(time.Hour)
			c.Refused(old, surely) // late news about a token that is gone
			value(t, c, "a")
			i.want(t, 2)
		})
	}
}

func TestYoungTokenStaysInUse(t *testing.T) {
	i := &iam{}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		tok := get(t, c, "a")
		time.Sleep(59 * time.Second)
		c.Refused(tok, false)
		value(t, c, "a")
		i.want(t, 1)
		time.Sleep(time.Second)
		c.Refused(tok, false)
		value(t, c, "a")
		i.want(t, 2)
	})
}

// TestYoungTokenThatIsSurelyStale is not sent again, nor replaced before it is
// old enough; then it is replaced though nobody asks.
func TestYoungTokenThatIsSurelyStale(t *testing.T) {
	i := &iam{}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		tok := get(t, c, "a")
		time.Sleep(20 * time.Second)
		c.Refused(tok, true)
		for range 39 {
			if tok, err := c.Token(t.Context(), "a"); err == nil {
				t.Fatalf("after the refusal it is handed out: %v", tok)
			}
			time.Sleep(time.Second)
		}
		i.want(t, 1)
		time.Sleep(time.Second)
		synctest.Wait()
		i.want(t, 2)
		if got := value(t, c, "a"); got != "a-2" {
			t.Errorf("a minute later: %q", got)
		}
	})
}

func TestRefusedDuringRenewalJoinsIt(t *testing.T) {
	i := &iam{}
	i.answer = func(_ context.Context, n int64, p string) (tokencache.Token, error) {
		if n == 2 {
			time.Sleep(20 * time.Second)
		}
		return number(n, p, life), nil
	}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		old := get(t, c, "a")
		for i.logins.Load() == 1 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		c.Refused(old, true)
		if got := value(t, c, "a"); got != "a-2" {
			t.Errorf("got %q", got)
		}
		i.want(t, 2)
	})
}

// TestFailureIsRemembered asks every second for an hour, as many callers do.
func TestFailureIsRemembered(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want []time.Duration // since the first login
	}{
		{"server", errors.New("HTTP 503"), seconds(0, 1, 3, 7, 15, 31, 61, 91, 121)},
		{"credentials", fmt.Errorf("log in: %w", tokencache.ErrCredentials), seconds(0, 120, 360, 840, 1800)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var at []time.Duration
			var start time.Time
			i := &iam{answer: func(context.Context, int64, string) (tokencache.Token, error) {
				at = append(at, time.Since(start))
				return tokencache.Token{}, tc.err
			}}
			bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
				start = time.Now()
				for range 3600 {
					asked := time.Now()
					_, err := c.Token(t.Context(), "a")
					if err == nil || errors.Is(tc.err, tokencache.ErrCredentials) != errors.Is(err, tokencache.ErrCredentials) {
						t.Fatalf("Token = %v", err)
					}
					if time.Since(asked) != 0 {
						t.Fatal("the remembered failure did not come at once")
					}
					time.Sleep(time.Second)
				}
			})
			if len(at) < len(tc.want) {
				t.Fatalf("logins at %v, want %v", at, tc.want)
			}
			for n, want := range tc.want {
				if d := at[n] - want; d < 0 || d > time.Duration(n)*time.Second {
					t.Fatalf("logins at %v, want about %v", at, tc.want)
				}
			}
		})
	}
}

func seconds(s ...int) []time.Duration {
	d := make([]time.Duration, len(s))
	for i := range s {
		d[i] = time.Duration(s[i]) * time.Second
	}
	return d
}

func TestSuccessEndsThePause(t *testing.T) {
	i := &iam{}
	i.answer = func(_ context.Context, n int64, p string) (tokencache.Token, error) {
		if n <= 3 || n == 5 {
			return tokencache.Token{}, errors.New("down")
		}
		return number(n, p, 10*time.Minute), nil
	}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		for i.logins.Load() < 4 {
			_, _ = c.Token(t.Context(), "a")
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if got := value(t, c, "a"); got != "a-4" {
			t.Fatal(got)
		}
		for i.logins.Load() < 5 { // the renewal, which fails
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		time.Sleep(time.Second) // the pause is the first again
		synctest.Wait()
		i.want(t, 6)
	})
}

func TestDeadTokenIsAFailure(t *testing.T) {
	i := &iam{answer: func(_ context.Context, n int64, p string) (tokencache.Token, error) {
		return number(n, p, -time.Second), nil
	}}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		for range 10 {
			if tok, err := c.Token(t.Context(), "a"); err == nil {
				t.Fatalf("a dead token was handed out: %v", tok)
			}
		}
		i.want(t, 1)
	})
}

func TestCloseWaits(t *testing.T) {
	var ended atomic.Bool
	i := &iam{answer: func(ctx context.Context, _ int64, _ string) (tokencache.Token, error) {
		<-ctx.Done()
		time.Sleep(3 * time.Second) // fake time
		ended.Store(true)
		return tokencache.Token{}, ctx.Err()
	}}
	synctest.Test(t, func(t *testing.T) {
		fleet := fleettest.NewMemory().Process("u", "p")
		c := tokencache.New(tokencache.Config{Login: i, Fleet: fleet})
		got := make(chan error, 1)
		go func() {
			_, err := c.Token(context.Background(), "a")
			got <- err
		}()
		synctest.Wait()
		c.Close()
		if !ended.Load() {
			t.Error("Close did not wait for the login")
		}
		if err := <-got; !errors.Is(err, tokencache.ErrClosed) {
			t.Errorf("the waiting caller got %v", err)
		}
		if _, err := c.Token(t.Context(), "a"); !errors.Is(err, tokencache.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if e, err := fleet.Look(t.Context(), "a"); err != nil || e.Busy || e.Failure != nil {
			t.Errorf("the others have to wait for a process that stopped: %+v, %v", e, err)
		}
		c.Close()
	})
}

func BenchmarkHit(b *testing.B) {
	c := tokencache.New(tokencache.Config{Login: &iam{}, Fleet: fleettest.NewMemory().Process("u", "p")})
	defer c.Close()
	ctx := context.Background()
	projects := make([]string, 8)
	for n := range projects {
		projects[n] = fmt.Sprintf("0123456789abcdef0123456789abcd%02d", n)
		if _, err := c.Token(ctx, projects[n]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Token(ctx, projects[3]); err != nil {
			b.Fatal(err)
		}
	}
}
