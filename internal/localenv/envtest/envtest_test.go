package envtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var env = Env{Migrate: func(ctx context.Context, url string) error {
	return execAt(ctx, url, "CREATE TABLE things (id int PRIMARY KEY); INSERT INTO things VALUES (1)")
}}

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

func execAt(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// Every test has the migrated tables, and nothing that another test did.
func TestDatabasesAreCopiesAndApart(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			if err := execAt(t.Context(), env.Postgres(t), "INSERT INTO things VALUES (2)"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDatabaseIsDropped(t *testing.T) {
	var url string
	t.Run("inner", func(t *testing.T) {
		url = env.Postgres(t)
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		// Left open: a test that leaks a connection must not block the drop.
		_ = conn
	})
	err := execAt(t.Context(), url, "SELECT 1")
	if pgErr := (*pgconn.PgError)(nil); !errors.As(err, &pgErr) || pgErr.Code != "3D000" {
		t.Errorf("connecting to the dropped database gave %v, want 3D000", err)
	}
}

func TestEmptyPostgresIsNotMigrated(t *testing.T) {
	if err := execAt(t.Context(), env.EmptyPostgres(t), "CREATE TABLE things (id int)"); err != nil {
		t.Error(err)
	}
}

// Tests that use the same fixed names do not meet, one after another or in parallel.
func TestJetStreamIsEmptyForEachTest(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			url := env.NATS(t)
			if again := env.NATS(t); again != url {
				t.Errorf("the second call gave %s, the first %s", again, url)
			}
			conn, err := nats.Connect(url)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			js, err := jetstream.New(conn)
			if err != nil {
				t.Fatal(err)
			}
			for name := range js.StreamNames(t.Context()).Name() {
				t.Errorf("somebody left the stream %s", name)
			}
			if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FIXED", Subjects: []string{"fixed"}}); err != nil {
				t.Fatal(err)
			}
			ack, err := js.Publish(t.Context(), "fixed", nil)
			if err != nil || ack.Sequence != 1 {
				t.Errorf("publish gave %v, %v; want sequence 1", ack, err)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	none := errors.New("Docker does not answer")
	for name, test := range map[string]struct {
		mode, given string
		probe       error
		want        source
		failed      bool
		probed      bool
	}{
		"an address wins":                     {given: "u", want: fromURL},
		"then Docker":                         {want: fromContainer, probed: true},
		"then this machine":                   {probe: none, want: fromLocal, probed: true},
		"forced local":                        {mode: "local", given: "u", want: fromLocal},
		"forced container":                    {mode: "container", given: "u", want: fromContainer, probed: true},
		"forced container that cannot be had": {mode: "container", given: "u", probe: none, failed: true, probed: true},
		"unknown word":                        {mode: "docker", given: "u", failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			probed := false
			from, why, err := choose(test.mode, "TEST_X", test.given, func(forced bool) error {
				probed = true
				if forced != (test.mode == "container") {
					t.Errorf("forced = %v", forced)
				}
				return test.probe
			})
			if from != test.want || (err != nil) != test.failed || probed != test.probed {
				t.Errorf("from %q, err %v, probed %v; want %+v", from, err, probed, test)
			}
			if err == nil && why == "" {
				t.Error("no reason was given")
			}
			if test.probe != nil && err != nil && !errors.Is(err, test.probe) {
				t.Errorf("err = %v does not say why", err)
			}
		})
	}
}

// A daemon that takes the connection and never answers costs seconds, not the run.
func TestHungDaemonDoesNotHang(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "d")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	ctx, cancel := context.WithTimeout(t.Context(), 2*daemonLimit)
	defer cancel()
	start := time.Now()
	if err := probeDocker(ctx, "postgres:17-alpine", false); err == nil {
		t.Error("a daemon that never answers was taken for a good one")
	}
	if took := time.Since(start); took > daemonLimit+time.Second {
		t.Errorf("it took %v to give up", took)
	}
}

func TestWithDatabase(t *testing.T) {
	got, err := withDatabase("postgres://u:secret@h:1/postgres?sslmode=disable", "d")
	if want := "postgres://u:secret@h:1/d?sslmode=disable"; err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	for _, bad := range []string{"host=h password=secret", "postgres://u:secret@h:port/x\x7f"} {
		if _, err := withDatabase(bad, "d"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("err = %v; want one without the password", err)
		}
	}
}
