package localenv

import (
	"bufio"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// takePort listens on a port that no system picks by itself for somebody who
// connects, so it stays free once the listener is closed. A child that another
// test is starting just then would hold it for a moment.
func takePort(t *testing.T) net.Listener {
	t.Helper()
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+rand.IntN(20000)))); err == nil {
			t.Cleanup(func() { l.Close() })
			return l
		}
	}
	t.Fatal(err)
	return nil
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var answer string
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fast  bool
		fsync string
	}{
		"durable": {false, "on"},
		"fast":    {true, "off"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := StartPostgres(t.Context(), Options{Fast: test.fast})
			if err != nil {
				t.Fatal(err)
			}
			if got := query(t, p.URL(), "SHOW fsync"); got != test.fsync {
				t.Errorf("fsync is %s, want %s", got, test.fsync)
			}
			below := descendants(t, p.process.Pid)
			if len(below) == 0 {
				t.Error("the server has no processes, so nothing would be checked")
			}
			// A client that stays must not keep the server from stopping.
			conn, err := pgx.Connect(t.Context(), p.URL())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
			waitGone(t, time.Second, append(below, p.process.Pid), p.dir)
			if err := p.Stop(); err != nil {
				t.Errorf("a second Stop: %v", err)
			}
		})
	}
}

func TestPostgresAsksForThePassword(t *testing.T) {
	t.Parallel()
	p, err := StartPostgres(t.Context(), Options{Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	_, err = pgx.Connect(t.Context(), strings.ReplaceAll(p.URL(), p.password, "wrong"))
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "28P01" {
		t.Errorf("a wrong password gave %v, want 28P01", err)
	}
	if left, err := filepath.Glob(filepath.Join(p.dir, "password")); err != nil || len(left) > 0 {
		t.Errorf("the password lies in %v (%v)", left, err)
	}
}

func TestPostgresFixedPort(t *testing.T) { // not in parallel: see takePort
	l := takePort(t)
	port := l.Addr().(*net.TCPAddr).Port
	if _, err := StartPostgres(t.Context(), Options{Port: port}); err == nil {
		t.Fatal("Postgres started on a port that is taken")
	}
	l.Close()
	p, err := StartPostgres(t.Context(), Options{Port: port, Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if p.port != port {
		t.Errorf("it listens on %d, want %d", p.port, port)
	}
}

func TestPostgresStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartPostgres(ctx, Options{Fast: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want context.Canceled", err)
	}
}

// Nothing is left behind by a process that had no chance to clean up.
func TestNothingOutlivesAKilledParent(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), victimVar+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for lines := bufio.NewScanner(stdout); len(dirs) < 2 && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "error:") {
			t.Fatal(lines.Text())
		}
		dirs = append(dirs, lines.Text())
	}
	pids := descendants(t, cmd.Process.Pid)
	if len(dirs) != 2 || len(pids) < 3 {
		t.Fatalf("the process has directories %v and children %v; want both servers", dirs, pids)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // It says "killed".
	waitGone(t, 30*time.Second, pids, dirs...)
}

func TestLookPostgres(t *testing.T) {
	root := t.TempDir()
	add := func(dir string, programs ...string) string {
		dir = filepath.Join(root, dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range programs {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	t.Setenv("PATH", add("bin", "initdb")) // Half of it does not count.
	places := []string{filepath.Join(root, "lib/*/bin"), filepath.Join(root, "opt/postgresql*/bin")}
	if got := lookPostgres(places); got != "" {
		t.Errorf("found %s where there is none", got)
	}
	add("lib/9/bin", "initdb", "postgres")
	add("lib/18/bin", "initdb")
	add("opt/postgresql/bin", "initdb", "postgres")
	want := add("opt/postgresql@16/bin", "initdb", "postgres")
	if got := lookPostgres(places); got != want {
		t.Errorf("found %s, want the newest that is whole, %s", got, want)
	}
	want = add("bin", "postgres")
	if got := lookPostgres(places); got != want {
		t.Errorf("found %s, want that on PATH, %s", got, want)
	}
}
