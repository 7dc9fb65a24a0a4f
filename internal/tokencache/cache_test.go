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
