package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/app"
	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/localenv/envtest"
	"ddsworker/internal/provision"
	"ddsworker/internal/store"
	"ddsworker/migrations"
)

var env = envtest.Env{Migrate: func(ctx context.Context, url string) error {
	_, err := store.Migrate(ctx, url, migrations.Files)
	return err
}}

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

// system is a whole installation: real Postgres, real NATS, the simulated cloud,
// and as many workers as a test starts.
type system struct {
	t        *testing.T
	cloud    *ddsfake.Cloud
	db       *pgxpool.Pool
	js       jetstream.JetStream
	settings map[string]string
	log      *logBuffer
}

func newSystem(t *testing.T, cloud ddsfake.Config) *system {
	t.Helper()
	c := ddsfake.New(cloud)
	server := httptest.NewTLSServer(c) // as real clouds are: what TLS writes by itself is a part of how calls end
	t.Cleanup(server.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, cloud: c, log: &logBuffer{}}
	databaseURL, natsURL := env.Postgres(t), env.NATS(t)
	s.settings = map[string]string{
		"NATS_URL": natsURL, "DATABASE_URL": databaseURL, "DDS_ENDPOINT": server.URL, "DDS_CA_FILE": authority, "OS_AUTH_URL": server.URL + "/v3",
		"OS_USERNAME": ddsfake.DefaultUser, "OS_PASSWORD": ddsfake.DefaultPassword, "OS_DOMAIN_NAME": ddsfake.DefaultDomain,
		"OS_PROJECT_ID": ddsfake.DefaultProjectID, "OS_REGION_NAME": "aaa", "ADMIN_ADDR": "127.0.0.1:0",
		"SECRETS_IDENTITY_FILE": filepath.Join(t.TempDir(), "identity.txt"),
		"POLL_INTERVAL":         "200ms", "RETRY_MIN": "50ms", "RETRY_MAX": "500ms", "VISIBILITY_WINDOW": "1s", "CALL_TIMEOUT": "3s",
		"LOG_LEVEL": "debug",
	}
	var err error
	if s.db, err = pgxpool.New(t.Context(), databaseURL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.db.Close)
	nc, err := nats.Connect(natsURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if s.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.dump()
		}
	})
	return s
}

// environment is one for all tests, and they run side by side.
var environment sync.Mutex

// config reads the settings as the worker's command line does.
func (s *system) config(overrides map[string]string) app.Config {
	s.t.Helper()
	environment.Lock()
	defer environment.Unlock()
	settings := maps.Clone(s.settings)
	maps.Copy(settings, overrides)
	for k, v := range settings {
		if err := os.Setenv(k, v); err != nil {
			s.t.Fatal(err)
		}
		defer os.Unsetenv(k)
	}
	var c app.Config
	parser, err := kong.New(&c, kong.Vars(app.Vars()))
	if err == nil {
		_, err = parser.Parse(nil)
	}
	if err == nil {
		err = c.Load()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// worker is one that runs; its stop is graceful and may be called again.
type worker struct {
	Addr string
	stop func()
}

func (s *system) start(overrides map[string]string) *worker {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	addr, done := make(chan string, 1), make(chan error, 1)
	a := &app.App{Config: s.config(overrides), Log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Listening: func(a string) { addr <- a }}
	go func() { done <- a.Run(ctx) }()
	w := &worker{}
	w.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				s.t.Errorf("the worker ended with: %v", err)
			}
		case <-time.After(30 * time.Second):
			s.t.Error("the worker did not stop")
		}
	})
	select {
	case w.Addr = <-addr:
	case err := <-done:
		s.t.Fatalf("the worker did not start: %v", err)
	}
	s.t.Cleanup(w.stop)
	return w
}

// publish sends bodies as any NATS client would and returns their sequences.
func (s *system) publish(bodies ...[]byte) []uint64 {
	s.t.Helper()
	s.eventually("the stream of requests", func() bool {
		_, err := s.js.Stream(s.t.Context(), "DDS_REQUESTS")
		return err == nil
	})
	var receipts []jetstream.PubAckFuture
	for _, b := range bodies {
		f, err := s.js.PublishAsync("dds.requests", b)
		if err != nil {
			s.t.Fatal(err)
		}
		receipts = append(receipts, f)
	}
	out := make([]uint64, len(bodies))
	for i, f := range receipts {
		select {
		case receipt := <-f.Ok():
			out[i] = receipt.Sequence
		case err := <-f.Err():
			s.t.Fatal(err)
		}
	}
	return out
}

// eventually waits until something is so, and fails after a deadline.
func (s *system) eventually(what string, is func() bool) {
	s.t.Helper()
	deadline := time.After(3 * time.Minute) // of a machine that has more to do
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("not reached in time: %s", what)
		}
	}
}

// count runs a query that counts.
func (s *system) count(query string, args ...any) (n int) {
	s.t.Helper()
	if err := s.db.QueryRow(s.t.Context(), query, args...).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (s *system) value(query string, args ...any) (v string) {
	s.t.Helper()
	if err := s.db.QueryRow(s.t.Context(), query, args...).Scan(&v); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return v
}

// wantState waits until n requests of the history are in the state.
func (s *system) wantState(state provision.State, n int) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d requests %s", n, state), func() bool {
		return s.count(`select count(*) from provisioning_history where state = $1`, state) == n
	})
}

// wantOneEach fails unless every ready request has an instance of its own, and
// the cloud has no other.
func (s *system) wantOneEach(n int) {
	s.t.Helper()
	if live := s.cloud.Instances(); len(live) != n {
		s.t.Errorf("the cloud has %d instances, want %d", len(live), n)
	}
	for _, i := range s.cloud.Instances() {
		if s.count(`select count(*) from instances where instance_id = $1`, i.ID) != 1 {
			s.t.Errorf("instance %s is nobody's", i.ID)
		}
	}
}

// everything is the text of every table of the database.
func (s *system) everything() string {
	s.t.Helper()
	var all strings.Builder
	rows, err := s.db.Query(s.t.Context(), `select tablename from pg_tables where schemaname = 'public'`)
	if err != nil {
		s.t.Fatal(err)
	}
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			s.t.Fatal(err)
		}
		tables = append(tables, name)
	}
	for _, name := range tables {
		all.WriteString(s.value(`select coalesce((select string_agg(x::text, E'\n') from ` + name + ` x), '')`))
	}
	return all.String()
}

func (s *system) dump() {
	rows, err := s.db.Query(context.Background(), `select row_to_json(h)::text from (select * from provisioning_history where state <> 'ready' limit 20) h
		union all select row_to_json(e)::text from (select * from events order by id desc limit 40) e`)
	if err != nil {
		return
	}
	for rows.Next() {
		var line string
		_ = rows.Scan(&line)
		s.t.Log(line)
	}
	lines := strings.Split(s.log.String(), "\n")
	s.t.Log(strings.Join(lines[max(0, len(lines)-40):], "\n"))
}

// logBuffer collects what workers log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// single is a small request that keeps all rules.
func single(name string, changes ...string) []byte {
	body := map[string]any{
		"name": name, "datastore": map[string]string{"type": "DDS-Community", "version": "4.0", "storage_engine": "wiredTiger"},
		"region": "aaa", "availability_zone": "bbb", "vpc_id": "674e9b42-cd8d-4d25-a2e6-5abcc565b961",
		"subnet_id": "f1df08c5-71d1-406a-aff0-de435a51007b", "security_group_id": "7aa51dbf-5b63-40db-9724-dad3c4828b58",
		"password": canary, "mode": "Single",
		"flavor": []any{map[string]any{"type": "single", "num": 1, "storage": "ULTRAHIGH", "size": 20, "spec_code": "dds.mongodb.s6.large.2.single"}},
	}
	for i := 0; i < len(changes); i += 2 {
		body[changes[i]] = changes[i+1]
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return text
}

// canary is a password that must never be seen again.
const canary = "Canary-7#xQ"
