package app_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ddsworker/internal/app"
	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/localenv/envtest"
	"ddsworker/internal/provision"
)

// secured is a system whose parts have the rights that deploy/ gives them and
// reach Postgres and NATS by TLS alone. Nothing is in the database and in
// JetStream yet.
type secured struct {
	*system
	ca      string
	nats    *natsServer
	program string // enqueue, once it is built
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	authority := envtest.NewAuthority(t)
	database := env.EmptyPostgres(t)
	env.PostgresTLS(t, authority)
	cloud := ddsfake.New(ddsfake.Config{JobMin: 200 * time.Millisecond, JobLag: -1, SettleLag: -1})
	server := httptest.NewServer(cloud)
	t.Cleanup(server.Close)
	db, err := pgxpool.New(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	s := &secured{ca: authority.File, nats: startSecuredNATS(t, authority),
		system: &system{t: t, cloud: cloud, db: db, log: &logBuffer{}}}
	s.settings = map[string]string{
		"DDS_ENDPOINT": server.URL, "OS_AUTH_URL": server.URL, "OS_USERNAME": ddsfake.DefaultUser, "OS_PASSWORD": ddsfake.DefaultPassword,
		"OS_DOMAIN_NAME": ddsfake.DefaultDomain, "OS_PROJECT_ID": ddsfake.DefaultProjectID, "OS_REGION_NAME": "aaa",
		"ADMIN_ADDR": "127.0.0.1:0", "SECRETS_IDENTITY_FILE": filepath.Join(t.TempDir(), "identity.txt"),
		"POLL_INTERVAL": "200ms", "VISIBILITY_WINDOW": "1s", "CALL_TIMEOUT": "3s", "SETUP": "check",
		"NATS_URL": s.nats.url, "NATS_CA": s.ca,
	}
	newIdentityIn(t, s.settings["SECRETS_IDENTITY_FILE"])
	runSQL(t, database, "roles.sql")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	return s
}

// as is how a user of that name is told apart at NATS, and in Postgres too if it
// has a role there.
func (s *secured) as(user string) map[string]string {
	s.t.Helper()
	settings := map[string]string{"NATS_NKEY": s.nats.seeds[user], "NATS_INBOX_PREFIX": "_INBOX_" + user}
	if user != "publisher" {
		u, err := url.Parse(login(s.t, s.db, "ddsworker_"+user))
		if err != nil {
			s.t.Fatal(err)
		}
		u.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {s.ca}}.Encode()
		settings["DATABASE_URL"] = u.String()
	}
	return settings
}

// migrate does what an operator does after each new version.
func (s *secured) migrate() {
	s.t.Helper()
	owner := s.as("owner")
	a := &app.App{Config: s.config(owner), Log: slog.New(slog.NewTextHandler(s.log, nil))}
	if err := a.Migrate(s.t.Context(), false); err != nil {
		s.t.Fatal(err)
	}
	runSQL(s.t, owner["DATABASE_URL"], "grants.sql")
}

// enqueue runs the program as the publisher.
func (s *secured) enqueue(args ...string) string {
	s.t.Helper()
	if s.program == "" {
		s.program = filepath.Join(s.t.TempDir(), "enqueue")
		if out, err := exec.CommandContext(s.t.Context(), "go", "build", "-o", s.program, "../../cmd/enqueue").CombinedOutput(); err != nil {
			s.t.Fatalf("%v: %s", err, out)
		}
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.program, args...)
	cmd.Env = []string{"HOME=" + s.t.TempDir(), "NATS_URL=" + s.nats.url, "NATS_CA=" + s.ca}
	for name, value := range s.as("publisher") {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("enqueue %v: %v: %s", args, err, out)
	}
	return string(out)
}

// login makes a user with the role and returns the address to connect with.
func login(t *testing.T, super *pgxpool.Pool, role string) string {
	t.Helper()
	name, password := strings.ToLower("test_"+rand.Text()), rand.Text()
	statement := `create role ` + name + ` login password '` + password + `' in role ` + role
	if role == "ddsworker_owner" {
		statement += `; alter role ` + name + ` set role to ddsworker_owner`
	}
	if _, err := super.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := super.Exec(context.Background(), `drop role `+name); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(super.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, password)
	return u.String()
}

// runSQL runs a file of deploy/.
func runSQL(t *testing.T, address, file string) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/" + file)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), string(text)); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// The rights that deploy/ gives suffice, over TLS, from the migration to a ready
// instance; and a refused request leaves its copy.
func TestLeastRightsSuffice(t *testing.T) {
	s := newSecured(t)
	s.migrate()
	s.migrate() // a new version finds everything there
	w := s.start(s.as("worker"))
	s.eventually("readiness", func() bool { return get(t, w, "/readyz") == 200 })

	out := s.enqueue("create", "--wait", "--id", "first", "../../examples/single-node.json")
	if !strings.Contains(out, "ready") {
		t.Errorf("enqueue says: %s", out)
	}
	s.enqueue("wait", "first")
	publisher := s.nats.connect(t, s.ca, "publisher")
	for _, body := range []string{`{"name":"x"}`, string(single("plain"))} { // as `nats req` does
		if _, err := publisher.conn.Request("dds.requests", []byte(body), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	s.wantState(provision.Ready, 2)
	s.wantOneEach(2)
	s.eventually("the copy of the refused request, and all events", func() bool {
		return s.nats.messages(t, "DDS_REJECTED") == 1 && s.count(`select count(*) from outbox`) == 0
	})
	s.nats.connect(t, s.ca, "worker").canAskForTheLastEvent(t)
	var plain string
	if err := s.db.QueryRow(t.Context(), `select request_id from requests where request_id <> 'first'`).Scan(&plain); err != nil {
		t.Fatal(err)
	}
	s.enqueue("wait", "first", plain) // through one consumer

	var encrypted, all int
	err := s.db.QueryRow(t.Context(), `select count(*) filter (where ssl), count(*) from pg_stat_ssl join pg_stat_activity using (pid)
		where usename in (select rolname from pg_roles where pg_has_role(oid, 'ddsworker_worker', 'member') and not rolsuper)`).Scan(&encrypted, &all)
	if err != nil || encrypted == 0 || encrypted != all {
		t.Errorf("%d of the worker's %d connections to Postgres use TLS (%v)", encrypted, all, err)
	}
	s.nats.wantTLS(t)
	w.stop()
	if text := s.log.String(); strings.Contains(strings.ToLower(text), "permission") || strings.Contains(text, "level=ERROR") {
		t.Errorf("the worker was refused something:\n%s", text)
	}
	if text := s.nats.log.String(); text != "" {
		t.Errorf("NATS refused something:\n%s", text)
	}
}
