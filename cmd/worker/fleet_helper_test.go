package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/localenv"
)

// fleet is a whole installation whose workers are processes of their own. The
// cloud is simulated in this one.
type fleet struct {
	t         *testing.T
	cloud     *ddsfake.Cloud
	program   *program
	db        *pgx.Conn
	js        jetstream.JetStream
	request   map[string]any // a body, to be given a name
	processes []*process
}

// process is one worker of the fleet.
type process struct {
	*exec.Cmd
	output *bytes.Buffer // may be read once the process has ended
}

// newFleet has a migrated database and streams, and no worker yet.
func newFleet(t *testing.T, cloud ddsfake.Config, settings ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, cloud: ddsfake.New(cloud)}
	server := httptest.NewServer(f.cloud)
	t.Cleanup(server.Close)
	database, natsURL := env.EmptyPostgres(t), env.NATS(t)
	f.program = build(t, append([]string{"NATS_URL=" + natsURL, "DATABASE_URL=" + database,
		"DDS_ENDPOINT=" + server.URL, "OS_AUTH_URL=" + server.URL,
		"OS_USERNAME=" + ddsfake.DefaultUser, "OS_PASSWORD=" + ddsfake.DefaultPassword, "OS_DOMAIN_NAME=" + ddsfake.DefaultDomain,
		"OS_PROJECT_ID=" + ddsfake.DefaultProjectID, "OS_REGION_NAME=aaa", "SECRETS_IDENTITY_FILE=" + filepath.Join(t.TempDir(), "identity.txt"),
		"ADMIN_ADDR=127.0.0.1:0", "DATABASE_MAX_CONNS=3", "LOG_LEVEL=debug"}, settings...)...)
	for _, command := range []string{"keygen", "migrate"} {
		if code, output := f.program.run(command); code != 0 {
			t.Fatalf("%s: %d, %s", command, code, output)
		}
	}
	text, err := os.ReadFile("../../examples/single-node.json")
	if err == nil {
		err = json.Unmarshal(text, &f.request)
	}
	if err != nil {
		t.Fatal(err)
	}
	if f.db, err = pgx.Connect(t.Context(), database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close(context.Background()) })
	nc, err := nats.Connect(natsURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if f.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return f
}

// publish stores requests in the stream; the numbers from first on name them.
func (f *fleet) publish(first, n int) {
	f.t.Helper()
	receipts := make([]jetstream.PubAckFuture, n)
	for i := range receipts {
		f.request["name"] = fmt.Sprintf("fleet-%d", first+i)
		body, err := json.Marshal(f.request)
		if err == nil {
			receipts[i], err = f.js.PublishAsync("dds.requests", body)
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
	timeout := time.After(30 * time.Second)
	for _, r := range receipts {
		select {
		case <-r.Ok():
		case err := <-r.Err():
			f.t.Fatal(err)
		case <-timeout:
			f.t.Fatal("the stream did not take the requests in time")
		}
	}
}

// start starts n workers at once. None of them outlives the test, nor this process.
func (f *fleet) start(n int) {
	f.t.Helper()
	f.t.Cleanup(f.kill)
	pids := make([]string, n)
	for i := range n {
		p := *f.program
		p.settings = append(slices.Clip(p.settings), "SETUP=check", fmt.Sprintf("WORKER_NAME=worker-%d", i))
		cmd, output := p.start()
		f.processes = append(f.processes, &process{cmd, output})
		pids[i] = strconv.Itoa(cmd.Process.Pid)
	}
	release, err := localenv.Guard(`kill -KILL "$@"`, pids...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := release(); err != nil {
			f.t.Error(err)
		}
	})
}

// kill ends what still runs, and shows the output of all if the test has failed.
func (f *fleet) kill() {
	for _, p := range f.processes {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			f.program.end(p.Cmd)
		}
		if f.t.Failed() {
			f.t.Logf("process %d:\n%s", p.Process.Pid, tail(p.output.String(), 20))
		}
	}
	f.processes = nil
}

// stop ends all workers gracefully, and fails unless each says so and exits 0.
func (f *fleet) stop() {
	f.t.Helper()
	for _, p := range f.processes {
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			f.t.Errorf("process %d: %v", p.Process.Pid, err)
		}
	}
	for _, p := range f.processes {
		if code := f.program.end(p.Cmd); code != 0 || !strings.Contains(p.output.String(), "stopped") {
			f.t.Errorf("after SIGTERM process %d exits with %d", p.Process.Pid, code)
		}
		if strings.Contains(p.output.String(), ddsfake.DefaultPassword) || aToken.MatchString(p.output.String()) {
			f.t.Errorf("process %d shows a password or a token", p.Process.Pid)
		}
	}
}

// aToken is what the simulated IAM's tokens look like.
var aToken = regexp.MustCompile(`MII[A-Za-z0-9+-]{60}`)

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// eventually waits until something is so, and fails after the limit.
func (f *fleet) eventually(what string, limit time.Duration, is func() bool) {
	f.t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			f.t.Fatalf("not reached within %v: %s; calls to the cloud: %v", limit, what, f.cloud.Stats().StatusesByOp)
		}
	}
}

func (f *fleet) count(query string, args ...any) (n int) {
	f.t.Helper()
	if err := f.db.QueryRow(f.t.Context(), query, args...).Scan(&n); err != nil {
		f.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// refused is how many calls the cloud has refused for their token, logins aside.
func (f *fleet) refused() (n int) {
	for op, statuses := range f.cloud.Stats().StatusesByOp {
		if op != ddsfake.OpLogin {
			n += statuses["401"]
		}
	}
	return n
}
