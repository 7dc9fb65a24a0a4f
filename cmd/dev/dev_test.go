package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// samplePassword is the one in the documented requests.
const samplePassword = "Test@123"

var (
	instanceID = `[0-9a-f]{32}in(02|10)`
	jobID      = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`
)

// noneLeft fails the test if a goroutine or a process survives it, so the tests
// of this package do not run side by side.
func noneLeft(t *testing.T) {
	t.Helper()
	running := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, running)
		if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
			t.Errorf("a process is left (%v)", err)
		}
	})
}

func TestDemo(t *testing.T) {
	noneLeft(t)
	d := demo{cloudFlags: cloudFlags{JobDuration: 15 * time.Minute, Speed: 300}, Dialect: "union", Limit: time.Minute}
	cloud, err := d.config(d.Dialect)
	if err != nil {
		t.Fatal(err)
	}
	var out, log buffer
	s, err := start(t.Context(), options{cloud: cloud, logLevel: "debug", log: &log})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}
	defer stop()
	if err := d.show(t.Context(), s, &out); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out.String(), log.String())
	}
	database := everything(t, s.postgres.URL())
	stop()

	for _, request := range []string{"cluster", "enhanced-cluster", "replica-set", "single-node"} {
		row := regexp.MustCompile(`(?m)^` + request + ` +ready +` + instanceID + ` +` + jobID + ` +1 +[0-9.]+ s`)
		if len(row.FindAllString(out.String(), -1)) != 1 {
			t.Errorf("the history does not show %s ready, with an instance and a job, after one attempt", request)
		}
		if progress := regexp.MustCompile(` ` + request + ` +building .*[0-9]+%  ` + instanceID); !progress.MatchString(out.String()) {
			t.Errorf("the progress of %s is not shown", request)
		}
	}
	if want := "creates received 4, instances made 4, logins 1\n"; !strings.Contains(out.String(), want) {
		t.Errorf("the cloud's counters are not %q", want)
	}
	for line := range strings.Lines(out.String()) {
		if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > 120 {
			t.Errorf("a line is wider than 120 columns: %q", line)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("there are escape sequences though it is no terminal")
	}
	for where, text := range map[string]string{"output": out.String(), "log": log.String(), "database": database} {
		for _, form := range []string{samplePassword, hex.EncodeToString([]byte(samplePassword)), base64.RawStdEncoding.EncodeToString([]byte(samplePassword))[:10]} {
			if strings.Contains(text, form) {
				t.Errorf("the password is in the %s, as %s", where, form)
			}
		}
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left: %v", err)
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// everything is all rows of all our tables as text.
func everything(t *testing.T, databaseURL string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	query := func(sql string) []string {
		rows, err := conn.Query(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	var all strings.Builder
	for _, table := range query(`select quote_ident(tablename) from pg_tables where schemaname = 'public'`) {
		all.WriteString(strings.Join(query(`select t::text from `+table+` t`), "\n"))
	}
	if !strings.Contains(all.String(), "test-replica") {
		t.Fatal("the rows of the requests were not read, so nothing would be checked")
	}
	return all.String()
}

func TestDemoSaysWhatWasNotReached(t *testing.T) {
	noneLeft(t)
	var out, log buffer
	if code := run(t.Context(), []string{"demo", "--limit=1s", "--job-duration=24h", "--dialect=huawei"}, &out, &log); code != 1 {
		t.Errorf("the exit code is %d, want 1", code)
	}
	for _, want := range []string{"not ready within 1s: ", "cluster (building)", "single-node (building)"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the error does not say %q:\n%s", want, log.String())
		}
	}
}

func TestUp(t *testing.T) {
	noneLeft(t)
	// A real cloud's settings in the shell must not be used.
	t.Setenv("OS_AUTH_URL", "https://iam.example.com")
	t.Setenv("DATABASE_URL", "postgres://example.com/real")
	t.Setenv("NATS_CREDS", "/nowhere")
	var out, log buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"--nats-port=0", "--postgres-port=0", "--cloud-port=0", "--admin-port=0"}, &out, &log)
	}()
	waitFor(t, &out, &log, "Ctrl-C stops it")

	if body, err := get(ctx, address(t, &out, `curl (\S+)/readyz`)+"/readyz"); err != nil || !strings.Contains(string(body), `"ready":true`) {
		t.Errorf("/readyz: %s %v", body, err)
	}
	if body, err := get(ctx, address(t, &out, `curl (\S+)/__stats`)+"/__stats"); err != nil || !strings.Contains(string(body), "creates_received") {
		t.Errorf("/__stats: %s %v", body, err)
	}
	passFile := address(t, &out, `PGPASSFILE='(.*)'`)
	t.Setenv("PGPASSFILE", passFile)
	conn, err := pgx.Connect(ctx, address(t, &out, `DATABASE_URL='(.*)' `))
	if err != nil {
		t.Fatalf("connect as it was printed: %v", err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(ctx, "select * from provisioning_history"); err != nil {
		t.Error(err)
	}
	if secret, err := os.ReadFile(passFile); err != nil {
		t.Error(err)
	} else if fields := strings.Split(strings.TrimSpace(string(secret)), ":"); strings.Contains(out.String()+log.String(), fields[len(fields)-1]) {
		t.Error("the password of the database is printed")
	}
	cancel()
	if got := <-code; got != 0 {
		t.Errorf("the exit code is %d, want 0:\n%s", got, log.String())
	}
	order := regexp.MustCompile(`(?s)stopping the worker.*stopping the cloud.*stopping NATS.*stopping Postgres`)
	if !order.MatchString(log.String()) {
		t.Errorf("it did not stop in order:\n%s", log.String())
	}
	if _, err := os.Stat(passFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the password's file is left: %v", err)
	}
}

// address takes what the expression captures in the settings that were printed.
func address(t *testing.T, out *buffer, expression string) string {
	t.Helper()
	found := regexp.MustCompile(expression).FindStringSubmatch(out.String())
	if found == nil {
		t.Fatalf("%s is not in:\n%s", expression, out.String())
	}
	return found[1]
}

// A signal ends the process in good order, and what it had started with it.
func TestSignal(t *testing.T) {
	binary := t.TempDir() + "/dev"
	if text, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, text)
	}
	var out, log buffer
	cmd := exec.CommandContext(t.Context(), binary, "up", "--nats-port=0", "--postgres-port=0", "--cloud-port=0", "--admin-port=0")
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, &out, &log, "Ctrl-C stops it")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v, want exit code 0\n%s", err, log.String())
	}
	if _, err := os.Stat(address(t, &out, `PGPASSFILE='(.*)'`)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the password's file is left: %v", err)
	}
}

func waitFor(t *testing.T, out, log *buffer, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(out.String(), text) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%q was not printed:\n%s%s", text, out.String(), log.String())
		}
	}
}

func TestPorts(t *testing.T) {
	l, err := net.Listen("tcp", loopback(0))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := net.SplitHostPort(l.Addr().String())
	taken, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := choose(nil, taken); got != 0 {
		t.Errorf("the usual port is taken, and %d was chosen, want any", got)
	}
	if got := choose(&taken, 1); got != taken {
		t.Errorf("%d was chosen, want the one asked for, %d", got, taken)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := choose(nil, taken); got != taken {
		t.Errorf("%d was chosen, want the usual one, %d, that is free", got, taken)
	}
}

func TestWrongCommandLine(t *testing.T) {
	for want, c := range map[string]struct {
		code int
		args []string
	}{
		"unknown flag --bogus": {2, []string{"--bogus"}},
		"speed -1":             {1, []string{"demo", "--speed=-1"}},
		`dialect "aws"`:        {1, []string{"--dialect=aws"}},
	} {
		var out, log bytes.Buffer
		if code := run(t.Context(), c.args, &out, &log); code != c.code || !strings.Contains(log.String(), want) {
			t.Errorf("%q: exit code %d and %q, want %d and %q", c.args, code, log.String(), c.code, want)
		}
	}
}
