package app_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/app"
	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/seal"
)

// canaries is a system in which every login is a secret that is hunted for.
type canaries struct {
	*system
	hunt       *hunt
	gateway    *gateway
	broker     *natsFiles
	box        *seal.Box
	program    *program
	routes     *routes
	first      []route    // those that were published first
	advisories *logBuffer // what the NATS server told about itself
	begin      string     // place in the log of changes; empty if the user may not read it
}

// newCanaries has a migrated system and no worker yet.
func newCanaries(t *testing.T) *canaries {
	t.Helper()
	h := &hunt{}
	s := newSystem(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1,
		Users: []ddsfake.User{{Name: ddsfake.DefaultUser, Password: h.login("OS_PASSWORD"), Domain: ddsfake.DefaultDomain}}})
	c := &canaries{system: s, hunt: h, gateway: startGateway(t, s, h), program: buildWorker(s), advisories: &logBuffer{},
		broker: startNATSFiles(t, h.login("NATS_URL"), rand.Text())}
	if c.value(`select rolsuper::text from pg_roles where rolname = current_user`) == "true" {
		c.begin = c.value(`select pg_current_wal_insert_lsn()::text`)
	}
	c.js = c.broker.js
	c.settings["OS_PASSWORD"], c.settings["CALL_TIMEOUT"] = h.secret("OS_PASSWORD"), "1s"
	c.settings["NATS_URL"], c.settings["DATABASE_URL"] = c.broker.url, c.ownRole()
	c.box = newIdentityIn(t, c.settings["SECRETS_IDENTITY_FILE"])
	h.identity(t, "identity", c.settings["SECRETS_IDENTITY_FILE"])
	c.routes = &routes{t: t, hunt: h, recipient: c.box.Recipients()[0]}
	if _, err := c.broker.nc.Subscribe("$JS.EVENT.>", func(m *nats.Msg) {
		_, _ = c.advisories.Write([]byte(m.Subject + " " + strings.Join(m.Header.Values("X"), " ") + " " + string(m.Data) + "\n"))
	}); err != nil {
		t.Fatal(err)
	}
	setup := &app.App{Config: c.config(nil), Log: slog.New(slog.NewTextHandler(s.log, nil))}
	if err := setup.Migrate(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	return c
}

// ownRole returns the address of the database with a login whose password is a
// secret.
func (c *canaries) ownRole() string {
	c.t.Helper()
	name, password := "canary_"+strings.ToLower(rand.Text()), c.hunt.login("DATABASE_URL")
	if _, err := c.db.Exec(c.t.Context(), `create role `+name+` superuser login password '`+strings.ReplaceAll(password, "'", "''")+`'`); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := c.db.Exec(ctx, `drop role `+name); err != nil {
			c.t.Error(err)
		}
	})
	return withLogin(c.t, c.settings["DATABASE_URL"], name, password)
}

// stream is how a stream of the workers is made.
func (c *canaries) stream(name string) jetstream.StreamConfig {
	c.t.Helper()
	s, err := c.js.Stream(c.t.Context(), name)
	if err != nil {
		c.t.Fatal(err)
	}
	return s.CachedInfo().Config
}

// withLogin replaces the login of an address; an empty user stays who it is.
func withLogin(t *testing.T, address, user, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if user == "" {
		user = u.User.Username()
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

// newIdentity makes an identity that no worker has, and returns its recipient.
func newIdentity(t *testing.T) string {
	t.Helper()
	return newIdentityIn(t, filepath.Join(t.TempDir(), "identity.txt")).Recipients()[0]
}

func newIdentityIn(t *testing.T, file string) *seal.Box {
	t.Helper()
	if err := seal.Generate(file); err != nil {
		t.Fatal(err)
	}
	box, err := seal.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// identity makes the identity of a file a secret.
func (h *hunt) identity(t *testing.T, path, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, ok := strings.Cut(string(text), "AGE-SECRET-KEY-1")
	if !ok {
		t.Fatalf("there is no identity in %s", file)
	}
	h.add(path, strings.TrimSpace(secret))
}
