package tokencache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ddsworker/internal/tokencache"
)

// Here is what a refused token and a failed login lead to.

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
		if c.Refused(tok, false) {
			t.Error("a young token is called stale")
		}
		value(t, c, "a")
		i.want(t, 1)
		time.Sleep(time.Second)
		for range 2 { // the second time it is replaced already
			if !c.Refused(tok, false) {
				t.Error("an old token is not called stale")
			}
			value(t, c, "a")
			i.want(t, 2)
		}
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
