package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/localenv/envtest"
)

var env = envtest.Env{}

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

// program is the worker as a process of its own.
type program struct {
	t        *testing.T
	path     string
	settings []string
}

func build(t *testing.T, settings ...string) *program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "worker")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return &program{t: t, path: path, settings: append([]string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, settings...)}
}

// start runs it; the returned output may be read once it has ended.
func (p *program) start(args ...string) (*exec.Cmd, *bytes.Buffer) {
	p.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(p.t.Context()), p.path, args...)
	output := &bytes.Buffer{}
	cmd.Env, cmd.Stdout, cmd.Stderr = p.settings, output, output
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	return cmd, output
}

// end waits for the process and returns its exit code.
func (p *program) end(cmd *exec.Cmd) int {
	p.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
			p.t.Fatal(err)
		} else if ok {
			return exit.ExitCode()
		}
		return 0
	case <-time.After(40 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
		p.t.Error("the worker did not end")
		return -1
	}
}

func (p *program) run(args ...string) (int, string) {
	p.t.Helper()
	cmd, output := p.start(args...)
	return p.end(cmd), output.String()
}

func TestSettingsAreToldAllAtOnce(t *testing.T) {
	p := build(t, "POLL_INTERVAL=soon", "CREATE_CONCURRENCY=0", "LOG_FORMAT=xml", "DDS_ENDPOINT=nowhere", "SETUP=maybe", "DDS_DIALECT=klingon", "RETRY_MIN=2m")
	code, output := p.run()
	if code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	for _, want := range []string{"DATABASE_URL", "OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_DOMAIN_NAME", "OS_PROJECT_ID", "OS_REGION_NAME",
		`POLL_INTERVAL: given "soon"`, `CREATE_CONCURRENCY: given "0"`, "LOG_FORMAT", `DDS_ENDPOINT: what is given is no URL`, "SETUP", "klingon", "RETRY_MIN"} {
		if !strings.Contains(output, want) {
			t.Errorf("the message lacks %q:\n%s", want, output)
		}
	}
	if code, output := p.run("--no-such-flag"); code != 2 || !strings.Contains(output, "no-such-flag") {
		t.Errorf("an unknown flag: %d, %s", code, output)
	}
	if code, output := p.run("--help"); code != 0 || !strings.Contains(output, "$VISIBILITY_WINDOW") {
		t.Errorf("--help: %d, %s", code, output)
	}
	if code, output := p.run("version"); code != 0 || strings.TrimSpace(output) == "" {
		t.Errorf("version: %d, %q", code, output)
	}
}

func TestKeygenNeverOverwrites(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deep", "identity.txt")
	p := build(t, "SECRETS_IDENTITY_FILE="+file)
	if code, output := p.run("keygen"); code != 0 {
		t.Fatalf("%d: %s", code, output)
	}
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: others may read the identity", info.Mode(), err)
	}
	if code, _ := p.run("keygen"); code == 0 {
		t.Error("a second keygen says that it worked")
	}
	if code, output := p.run("keygen", "--if-absent"); code != 0 {
		t.Errorf("keygen --if-absent: %d, %s", code, output)
	}
	if second, _ := os.ReadFile(file); !bytes.Equal(first, second) {
		t.Error("the identity was overwritten")
	}
}

// A real worker process serves, stops at SIGTERM with 0, and one that was killed
// in the middle of a call is succeeded by one that adopts what it made.
func TestAProcessStopsAndIsSucceeded(t *testing.T) {
	cloud := ddsfake.New(ddsfake.Config{CreateLatency: time.Second, JobMin: 200 * time.Millisecond, JobLag: -1, SettleLag: -1})
	server := httptest.NewServer(cloud)
	defer server.Close()
	database, natsURL := env.EmptyPostgres(t), env.NATS(t)
	p := build(t, "NATS_URL="+natsURL, "DATABASE_URL="+database, "DDS_ENDPOINT="+server.URL, "OS_AUTH_URL="+server.URL,
		"OS_USERNAME="+ddsfake.DefaultUser, "OS_PASSWORD="+ddsfake.DefaultPassword, "OS_DOMAIN_NAME="+ddsfake.DefaultDomain,
		"OS_PROJECT_ID="+ddsfake.DefaultProjectID, "OS_REGION_NAME=aaa", "ADMIN_ADDR=127.0.0.1:0", "CALL_TIMEOUT=3s", "VISIBILITY_WINDOW=1s", "POLL_INTERVAL=200ms")
	if code, output := p.run("migrate"); code == 0 || !strings.Contains(output, "worker keygen") {
		t.Fatalf("migrate without an identity: %d, %s", code, output)
	}
	for _, command := range []string{"keygen", "migrate"} {
		if code, output := p.run(command); code != 0 {
			t.Fatalf("%s: %d, %s", command, code, output)
		}
	}
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	nc, err := nats.Connect(natsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	body, err := os.ReadFile("../../examples/single-node.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request("dds.requests", body, 5*time.Second); err != nil {
		t.Fatal(err)
	}

	p.settings = append(p.settings, "SETUP=check", "LOG_FORMAT=text")
	killed, _ := p.start()
	wait(t, "a create call", func() bool { return cloud.Stats().CreatesExecuted == 1 })
	_ = killed.Process.Kill()
	p.end(killed)
	next, output := p.start()
	wait(t, "the request being ready", func() bool {
		var state string
		err := conn.QueryRow(t.Context(), `select state from provisioning_history`).Scan(&state)
		return err == nil && state == "ready"
	})
	var attempts, adopted int
	if err := conn.QueryRow(t.Context(), `select attempts, (select count(*) from instances where adopted) from requests`).Scan(&attempts, &adopted); err != nil {
		t.Fatal(err)
	}
	if n := len(cloud.Instances()); n != 1 || attempts != 1 || adopted != 1 {
		t.Errorf("%d instances, %d attempts, %d adopted; want 1 each", n, attempts, adopted)
	}
	if err := next.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.end(next); code != 0 || !strings.Contains(output.String(), "stopped") {
		t.Errorf("after SIGTERM it exits with %d: %s", code, output)
	}
}

func TestHealthAsksTheWorker(t *testing.T) {
	p := build(t)
	for status, want := range map[int]int{http.StatusOK: 0, http.StatusServiceUnavailable: 1} {
		admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintln(w, r.URL.Path)
		}))
		code, output := p.run("health", "--admin-addr", admin.Listener.Addr().String())
		admin.Close()
		if code != want || !strings.Contains(output, "/readyz") {
			t.Errorf("answer %d: exit code %d, %s", status, code, output)
		}
	}
}

func wait(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(40 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not reached in time: %s", what)
		}
	}
}
