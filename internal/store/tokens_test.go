package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"ddsworker/internal/dds"
	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
	"ddsworker/internal/seal"
	"ddsworker/internal/store"
	"ddsworker/internal/tokencache"
	"ddsworker/internal/tokencache/fleettest"
)

// sealer returns the box for tokens of a new identity.
func sealer(t *testing.T) *seal.Box {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	box, err := seal.New(strings.NewReader(identity.String()))
	if err != nil {
		t.Fatal(err)
	}
	if box, err = box.Tokens(); err != nil {
		t.Fatal(err)
	}
	return box
}

func TestTokensConform(t *testing.T) {
	fleettest.Conform(t, func(t *testing.T) func(user, password string) tokencache.Fleet {
		d, box := open(t), sealer(t)
		return func(user, password string) tokencache.Fleet {
			return d.Tokens(store.Credential{AuthURL: "https://iam", Domain: "d", User: user, Password: provision.NewSecret(password)}, "w", box)
		}
	})
}

// tokenFleet is many processes with a store each on one database, and the
// simulated cloud.
type tokenFleet struct {
	*db
	cloud  *ddsfake.Cloud
	url    string
	box    *seal.Box
	minAge time.Duration
}

func newTokenFleet(t *testing.T, cfg ddsfake.Config) *tokenFleet {
	t.Helper()
	cloud := ddsfake.New(cfg)
	server := httptest.NewServer(cloud)
	t.Cleanup(server.Close)
	return &tokenFleet{db: open(t), cloud: cloud, url: server.URL, box: sealer(t)}
}

// process starts one process.
func (f *tokenFleet) process(password string) *tokencache.Cache {
	f.t.Helper()
	s, err := store.Open(f.t.Context(), store.Config{URL: provision.NewSecret(f.sql.Config().ConnString()), MaxConns: 1})
	f.must(err)
	f.t.Cleanup(s.Close)
	secret := provision.NewSecret(password)
	login, err := dds.NewLogin(dds.LoginConfig{AuthURL: f.url, Username: ddsfake.DefaultUser, Domain: ddsfake.DefaultDomain, Password: secret})
	f.must(err)
	f.t.Cleanup(login.Close)
	c := tokencache.New(tokencache.Config{Login: login, MinAge: f.minAge, Fleet: s.Tokens(store.Credential{AuthURL: login.Endpoint(),
		Domain: ddsfake.DefaultDomain, User: ddsfake.DefaultUser, Password: secret}, "w", f.box)})
	f.t.Cleanup(c.Close)
	return c
}

func (f *tokenFleet) processes(n int) []*tokencache.Cache {
	out := make([]*tokencache.Cache, n)
	for i := range out {
		out[i] = f.process(ddsfake.DefaultPassword)
	}
	return out
}

// list is a call of the service with the project's token.
func (f *tokenFleet) list(ctx context.Context, c *tokencache.Cache) error {
	client, err := dds.New(dds.Config{Endpoint: f.url, Tokens: c})
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.ListInstances(ctx, ddsfake.DefaultProjectID, provision.InstanceQuery{Limit: 1})
	return err
}

func (f *tokenFleet) wantLogins(most int) {
	f.t.Helper()
	if n := f.cloud.Stats().Logins; n > most || n == 0 {
		f.t.Errorf("%d logins, want at most %d", n, most)
	}
}

// inAll makes 100 calls in every process at once.
func inAll(caches []*tokencache.Cache, call func(c *tokencache.Cache) error) error {
	var g errgroup.Group
	for _, c := range caches {
		for range 100 {
			g.Go(func() error { return call(c) })
		}
	}
	return g.Wait()
}

func TestOneLoginServesTheFleet(t *testing.T) {
	for name, cfg := range map[string]ddsfake.Config{"at once": {}, "IAM takes 5 s": {LoginLatency: 5 * time.Second},
		"10 min ahead": {ClockOffset: 10 * time.Minute}, "10 min behind": {ClockOffset: -10 * time.Minute}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newTokenFleet(t, cfg)
			f.minAge = time.Nanosecond
			caches := f.processes(20)
			var mu sync.Mutex
			tokens := map[string]tokencache.Token{}
			ask := func(c *tokencache.Cache) error {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				tok, err := c.Token(ctx, ddsfake.DefaultProjectID)
				mu.Lock()
				defer mu.Unlock()
				tokens[tok.Reveal()] = tok
				return err
			}
			f.must(inAll(caches, ask))
			if len(tokens) != 1 {
				t.Errorf("%d tokens in use", len(tokens))
			}
			f.wantLogins(1)
			if name == "IAM takes 5 s" {
				return
			}
			var old tokencache.Token
			for _, old = range tokens {
			}
			f.must(f.list(t.Context(), caches[0]))
			f.cloud.RevokeTokens(ddsfake.RevokeService)
			clear(tokens)
			f.must(inAll(caches, func(c *tokencache.Cache) error { c.Refused(old, true); return ask(c) }))
			if len(tokens) != 1 || tokens[old.Reveal()].Reveal() != "" {
				t.Errorf("%d tokens in use after all were revoked", len(tokens))
			}
			f.wantLogins(2)
			f.must(f.list(t.Context(), caches[7]))
		})
	}
}

// TestShortTokens: 20 s of calls in 20 processes with tokens that live for 10 s.
func TestShortTokens(t *testing.T) {
	t.Parallel()
	f := newTokenFleet(t, ddsfake.Config{TokenLife: 10 * time.Second})
	end := time.Now().Add(20 * time.Second)
	var calls atomic.Int64
	var g errgroup.Group
	for _, c := range f.processes(20) {
		client, err := dds.New(dds.Config{Endpoint: f.url, Tokens: c})
		f.must(err)
		t.Cleanup(client.Close)
		g.Go(func() error {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for ; time.Now().Before(end); <-tick.C {
				if _, err := client.ListInstances(t.Context(), ddsfake.DefaultProjectID, provision.InstanceQuery{Limit: 1}); err != nil {
					return err
				}
				calls.Add(1)
			}
			return nil
		})
	}
	f.must(g.Wait())
	f.wantLogins(4)
	t.Logf("%d calls, %d logins", calls.Load(), f.cloud.Stats().Logins)
}

// TestWrongPasswordIsTheFleets: a pause that one process earned holds for all,
// also for those that start later, and not for one with another password.
func TestWrongPasswordIsTheFleets(t *testing.T) {
	f := newTokenFleet(t, ddsfake.Config{})
	const wrong = "Wrong-Passw0rd-Canary"
	for range 5 {
		c := f.process(wrong)
		for range 10 {
			if _, err := c.Token(t.Context(), ddsfake.DefaultProjectID); !errors.Is(err, tokencache.ErrCredentials) || strings.Contains(err.Error(), wrong) {
				t.Fatalf("Token = %v", err)
			}
		}
	}
	f.wantLogins(1)
	if left := one[float64](f.db, `select extract(epoch from retry_at - now())::float8 from logins`); left < 60 || left > 120 {
		t.Errorf("the pause lasts for another %.0f s", left)
	}
	text := one[string](f.db, `select l::text || encode(l.failed_passwords[1], 'escape') from logins l`)
	if strings.Contains(text, wrong) || strings.Contains(text, fmt.Sprintf("%x", wrong)) {
		t.Errorf("the password that failed can be read: %s", text)
	}
	if _, err := f.process(ddsfake.DefaultPassword).Token(t.Context(), ddsfake.DefaultProjectID); err != nil {
		t.Errorf("with the right password: %v", err)
	}
	f.wantLogins(2)
	if _, err := f.process(wrong).Token(t.Context(), ddsfake.DefaultProjectID); err != nil {
		t.Errorf("the token of the others does not serve: %v", err)
	}
	f.wantLogins(2)
}

func TestTokensCannotBeReadNorMoved(t *testing.T) {
	f := newTokenFleet(t, ddsfake.Config{Projects: map[string]string{ddsfake.DefaultProjectID: "a", "other": "b"}})
	c := f.process(ddsfake.DefaultPassword)
	secrets := []string{ddsfake.DefaultPassword}
	for _, p := range []string{ddsfake.DefaultProjectID, "other"} {
		tok, err := c.Token(t.Context(), p)
		f.must(err)
		secrets = append(secrets, tok.Reveal())
	}
	if slices.Contains(secrets, "") || secrets[1] == secrets[2] {
		t.Fatal("the projects share a token")
	}
	text := one[string](f.db, `select string_agg(t::text || encode(t.sealed_token, 'escape') || l::text, ' ') from tokens t join logins l using (user_name)`)
	for _, s := range secrets {
		if strings.Contains(text, s) || strings.Contains(text, fmt.Sprintf("%x", s)) {
			t.Errorf("a secret can be read in the tables")
		}
	}
	// One project's token in the other's row is of no use, and neither is one
	// under a key that is not ours: both are replaced.
	_, err := f.sql.Exec(t.Context(), `update tokens set sealed_token = (select sealed_token from tokens where project_id = 'other') where project_id <> 'other'`)
	f.must(err)
	if _, err := f.process(ddsfake.DefaultPassword).Token(t.Context(), ddsfake.DefaultProjectID); err != nil {
		t.Error(err)
	}
	f.wantLogins(3)
	f.box = sealer(t)
	if _, err := f.process(ddsfake.DefaultPassword).Token(t.Context(), "other"); err != nil {
		t.Error(err)
	}
	f.wantLogins(4)
}

// TestDatabaseAway: a token serves on; without one the error names the database
// and its class is not_sent.
func TestDatabaseAway(t *testing.T) {
	f := newTokenFleet(t, ddsfake.Config{})
	warm, cold := f.process(ddsfake.DefaultPassword), f.process(ddsfake.DefaultPassword)
	f.must(f.list(t.Context(), warm))
	name, elsewhere := f.sql.Config().Database, f.sql.Config().Copy()
	elsewhere.Database = "postgres"
	admin, err := pgx.ConnectConfig(t.Context(), elsewhere)
	f.must(err)
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	_, err = admin.Exec(t.Context(), `alter database "`+name+`" with allow_connections false`)
	f.must(err)
	_, err = admin.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1`, name)
	f.must(err)
	f.must(f.list(t.Context(), warm))
	ce := provision.AsCloudError(f.list(t.Context(), cold))
	if ce.Class != provision.ClassNotSent || !strings.Contains(ce.Message, "database") || strings.Contains(ce.Error(), ddsfake.DefaultPassword) ||
		elsewhere.Password != "" && strings.Contains(ce.Error(), elsewhere.Password) {
		t.Errorf("without a database: %s %v", ce.Class, ce)
	}
	f.wantLogins(1)
	_, err = admin.Exec(t.Context(), `alter database "`+name+`" with allow_connections true`)
	f.must(err)
	deadline := time.After(20 * time.Second)
	for f.list(t.Context(), cold) != nil {
		select {
		case <-deadline:
			t.Fatal("it does not go on when the database is back")
		case <-time.After(50 * time.Millisecond):
		}
	}
	f.wantLogins(1)
}
