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
	return tokencache.NewToken(fmt.Sprintf("%s-%d", projectID, n), projectID, time.Now().Add(life))
}

// bubble runs f with a cache on i in a bubble of fake time.
func bubble(t *testing.T, i *iam, f func(t *testing.T, c *tokencache.Cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := tokencache.New(i, 0)
		defer c.Close()
		f(t, c)
	})
}

func value(t *testing.T, c *tokencache.Cache, projectID string) string {
	t.Helper()
	tok, err := c.Token(t.Context(), projectID)
	if err != nil {
		t.Fatalf("Token(%s): %v", projectID, err)
	}
	return tok.Reveal()
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

func TestRenewedAheadInTheBackground(t *testing.T) {
	i := &iam{}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		if got := value(t, c, "a"); got != "a-1" {
			t.Fatal(got)
		}
		time.Sleep(life * 9 / 10)
		i.want(t, 1)
		time.Sleep(life / 20) // the jitter ends halfway through the last tenth
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
		if renewals < 10 || renewals > 45 { // 1 s, 2 s, … 5 min within 72 to 144 min
			t.Errorf("%d renewals were tried", renewals)
		}
		time.Sleep(2 * time.Second)
		if _, err := c.Token(t.Context(), "a"); !errors.Is(err, down) {
			t.Errorf("after its end: %v", err)
		}
	})
}

func TestRefusedIsReplacedOnce(t *testing.T) {
	i := &iam{}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		old, err := c.Token(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				c.Refused(old)
				if got := value(t, c, "a"); got != "a-2" {
					t.Errorf("after the refusal: %q", got)
				}
			})
		}
		wg.Wait()
		i.want(t, 2)
		time.Sleep(time.Hour)
		c.Refused(old) // late news about a token that is gone
		value(t, c, "a")
		i.want(t, 2)
	})
}

func TestYoungTokenIsNotReplaced(t *testing.T) {
	i := &iam{}
	bubble(t, i, func(t *testing.T, c *tokencache.Cache) {
		tok, err := c.Token(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		c.Refused(tok)
		value(t, c, "a")
		i.want(t, 1)
		time.Sleep(time.Second)
		c.Refused(tok)
		value(t, c, "a")
		i.want(t, 2)
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
		old, err := c.Token(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		for i.logins.Load() == 1 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		c.Refused(old)
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
		{"server", errors.New("HTTP 503"), seconds(0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111)},
		{"credentials", fmt.Errorf("log in: %w", tokencache.ErrCredentials), seconds(0, 60, 180, 420, 900, 1860, 2820)},
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
					if _, err := c.Token(t.Context(), "a"); !errors.Is(err, tc.err) {
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
				if at[n] != want {
					t.Fatalf("logins at %v, want %v", at, tc.want)
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
		for range 3 {
			_, _ = c.Token(t.Context(), "a")
			time.Sleep(4 * time.Second)
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
		c := tokencache.New(i, 0)
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
		c.Close()
	})
}

func BenchmarkHit(b *testing.B) {
	c := tokencache.New(&iam{}, 0)
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
