package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/localenv/envtest"
	"ddsworker/internal/queue"
)

var env envtest.Env

// asProgram is set where the test binary is to be the program.
const asProgram = "ENQUEUE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	// What the developer's shell has set must not change the tests.
	for _, name := range []string{"NATS_URL", "NATS_CREDS", "NATS_NKEY", "NATS_CA", "NATS_CERT", "NATS_KEY", "NATS_INBOX_PREFIX",
		"DDS_PASSWORD", "DDS_PASSWORD_FILE", "DDS_RECIPIENT", "DDS_PROJECT_ID",
		"DDS_REQUESTED_BY", "TRACEPARENT", "DDS_DIALECT", "ACCEPT_UNKNOWN_FIELDS", "ENQUEUE_WAIT", "ENQUEUE_OUTPUT", "ENQUEUE_TIMEOUT"} {
		os.Unsetenv(name)
	}
	os.Exit(env.Main(m))
}

// canary is the password of all tests; it must never be printed.
const canary = "Canary-1-bird"

// limit bounds every wait of a test.
const limit = 30 * time.Second

// called is what a call of the program left behind.
type called struct {
	code           int
	stdout, stderr string
}

// enqueue calls the program in this process.
func enqueue(t *testing.T, stdin string, args ...string) called {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return enqueueIn(ctx, t, &watched{}, stdin, args...)
}

func enqueueIn(ctx context.Context, t *testing.T, stderr *watched, stdin string, args ...string) called {
	t.Helper()
	var stdout bytes.Buffer
	p := &program{stdin: strings.NewReader(stdin), stdout: &stdout, stderr: stderr}
	code := p.run(ctx, args)
	c := called{code, stdout.String(), stderr.String()}
	if strings.Contains(c.stdout+c.stderr, canary) {
		t.Errorf("the password was printed:\n%s%s", c.stdout, c.stderr)
	}
	return c
}

// expect checks the exit code and that standard error has all the words.
func (c called) expect(t *testing.T, code int, words ...string) {
	t.Helper()
	if c.code != code {
		t.Errorf("exit code %d, want %d; standard error:\n%s", c.code, code, c.stderr)
	}
	for _, w := range words {
		if !strings.Contains(c.stderr, w) {
			t.Errorf("standard error does not say %q:\n%s", w, c.stderr)
		}
	}
}

// results reads what -o json printed.
func (c called) results(t *testing.T) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(c.stdout) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("not a JSON object: %s", line)
		}
		all = append(all, one)
	}
	return all
}

// watched is a buffer that a test can wait on.
type watched struct {
	mu     sync.Mutex
	text   bytes.Buffer
	wanted string
	seen   chan struct{}
}

// when returns a channel that is closed once word has been written.
func (w *watched) when(word string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wanted, w.seen = word, make(chan struct{})
	return w.seen
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(b)
	if w.wanted != "" && strings.Contains(w.text.String(), w.wanted) {
		close(w.seen)
		w.wanted = ""
	}
	return len(b), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// startNATS returns JetStream with our streams, which publish the recipient of
// fleet; NATS_URL points there.
func startNATS(t *testing.T, layout queue.Layout) jetstream.JetStream {
	t.Helper()
	js := startBareNATS(t)
	layout.Recipients = fleet.Recipients()
	if err := queue.Setup(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	return js
}

func startBareNATS(t *testing.T) jetstream.JetStream {
	t.Helper()
	url := env.NATS(t)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NATS_URL", url)
	return js
}

// single is a good body with the name; the password comes with it unless empty.
func single(name, password string) string {
	body := `{"name": "` + name + `", "datastore": {"type": "DDS-Community", "version": "4.0", "storage_engine": "wiredTiger"},
  "region": "aaa", "availability_zone": "bbb",
  "vpc_id": "674e9b42-cd8d-4d25-a2e6-5abcc565b961", "subnet_id": "f1df08c5-71d1-406a-aff0-de435a51007b",
  "security_group_id": "7aa51dbf-5b63-40db-9724-dad3c4828b58", "mode": "Single",
  "flavor": [{"type": "single", "num": 1, "storage": "ULTRAHIGH", "size": 20, "spec_code": "dds.mongodb.s6.large.2.single"}]`
	if password != "" {
		body += `, "password": "` + password + `"`
	}
	return body + "}"
}
