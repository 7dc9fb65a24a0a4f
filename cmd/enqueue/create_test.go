package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/queue"
)

// stored returns the messages in the stream of requests.
func stored(t *testing.T, js jetstream.JetStream) []*jetstream.RawStreamMsg {
	t.Helper()
	stream, err := js.Stream(t.Context(), queue.RequestsStream)
	if err != nil {
		t.Fatal(err)
	}
	var all []*jetstream.RawStreamMsg
	state := stream.CachedInfo().State
	for seq := max(state.FirstSeq, 1); seq <= state.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func TestCreatePublishesTheBody(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	t.Setenv("TRACEPARENT", trace)
	file := write(t, "one.json", single("test-one", canary))

	c := enqueue(t, "", "create", "-f", file, "--project", "p1", "--requested-by", "ann@desk")
	c.expect(t, 0, "stored test-one as request ")
	id := strings.TrimSuffix(c.stdout, "\n")
	if u, err := uuid.Parse(id); err != nil || u.Version() != 7 {
		t.Errorf("standard output %q is not a UUIDv7", c.stdout)
	}
	all := stored(t, js)
	if len(all) != 1 {
		t.Fatalf("%d messages are stored", len(all))
	}
	for header, want := range map[string]string{
		"Nats-Msg-Id": id, queue.HeaderProjectID: "p1", queue.HeaderRequestedBy: "ann@desk", queue.HeaderTraceparent: trace,
	} {
		if got := all[0].Header.Get(header); got != want {
			t.Errorf("header %s is %q, want %q", header, got, want)
		}
	}
	if spec := fleet.takeIn(t, all[0]); spec.Name != "test-one" || spec.Password.Reveal() != canary {
		t.Errorf("stored body: name %q, or another password", spec.Name)
	}
}

func TestCreateDefaults(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	t.Setenv("TRACEPARENT", "broken")
	enqueue(t, single("test-one", ""), "create", "-f", "-").expect(t, 0, "TRACEPARENT is no W3C trace context")
	m := stored(t, js)[0]
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Header.Get(queue.HeaderRequestedBy), who.Username+"@"+host; got != want {
		t.Errorf("requested by %q, want %q", got, want)
	}
	if len(m.Header.Values(queue.HeaderProjectID))+len(m.Header.Values(queue.HeaderTraceparent)) > 0 {
		t.Errorf("headers that nobody gave: %v", m.Header)
	}
}

func TestCreateManyKeepsTheirOrder(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	const many = 300
	var lines, ids strings.Builder
	for i := range many {
		lines.WriteString(strings.ReplaceAll(single(fmt.Sprintf("test-%03d", i), ""), "\n", " ") + "\n")
	}
	c := enqueue(t, lines.String(), "create", "-f", "-", "-o", "json")
	c.expect(t, 0)
	sequences := map[float64]bool{}
	for i, r := range c.results(t) {
		if len(r) != 3 || r["name"] != fmt.Sprintf("test-%03d", i) {
			t.Fatalf("result %d is %v", i, r)
		}
		sequences[r["sequence"].(float64)] = true
		fmt.Fprintln(&ids, r["id"])
	}
	if len(sequences) != many || len(stored(t, js)) != many {
		t.Errorf("%d sequences for %d requests", len(sequences), many)
	}
	// The same again with the same ids: as text, the ids alone.
	var args []string
	for id := range strings.FieldsSeq(ids.String()) {
		args = append(args, "--id", id)
	}
	c = enqueue(t, lines.String(), append([]string{"create", "-f", "-"}, args...)...)
	c.expect(t, 0)
	if c.stdout != ids.String() {
		t.Errorf("standard output is not the list of ids:\n%s", c.stdout)
	}
}

func TestPasswordFromElsewhere(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	bare, full := single("test-one", ""), single("test-two", canary)
	file := write(t, "password", canary+"\r\n")
	t.Run("variable", func(t *testing.T) {
		t.Setenv("DDS_PASSWORD", canary)
		enqueue(t, bare, "create", "-f", "-").expect(t, 0)
		enqueue(t, full, "create", "-f", "-").expect(t, 2, "standard input, document 1 (line 1): it has a password, and DDS_PASSWORD gives another")
	})
	t.Run("file before variable", func(t *testing.T) {
		t.Setenv("DDS_PASSWORD", "wrong")
		enqueue(t, bare, "create", "-f", "-", "--password-file", file).expect(t, 0)
		enqueue(t, full, "create", "-f", "-", "--password-file", file).expect(t, 2, "the password file "+file+" gives another")
	})
	t.Run("bad", func(t *testing.T) {
		empty := write(t, "empty", "\n")
		enqueue(t, bare, "create", "-f", "-", "--password-file", empty).expect(t, 2, "password file "+empty+" is empty")
		enqueue(t, bare, "create", "-f", "-", "--password-file", empty+"x").expect(t, 2, "no such file")
		t.Setenv("DDS_PASSWORD", canary+" ")
		enqueue(t, bare, "create", "-f", "-").expect(t, 2, "password: given [redacted]")
	})
	all := stored(t, js)
	if len(all) != 2 {
		t.Fatalf("%d messages are stored, want 2", len(all))
	}
	for _, m := range all {
		if fleet.takeIn(t, m).Password.Reveal() != canary {
			t.Error("another password was published")
		}
	}
}

func TestNothingIsPublishedUnlessAllIsGood(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	good := single("test-good", canary)
	bad := write(t, "bad.yaml", "name: x\npassword: "+canary+"\nssl_option: on\ntags:\n- {key: a, value: 7}\n---\n"+good+"\n---\nname: 4.2\n")

	c := enqueue(t, good, "create", "-f", "-", bad)
	c.expect(t, 2, "bad.yaml, document 1 (line 1): the request breaks", "\n  name: given \"x\"", `ssl_option: given "on"`,
		"YAML takes 7 for a number", "bad.yaml, document 3 (line ", "name: given 4.2", "nothing was published")
	if strings.Contains(c.stderr, "document 2") || strings.Contains(c.stderr, "standard input") {
		t.Errorf("a good document is refused:\n%s", c.stderr)
	}
	unknown := strings.Replace(good, `"mode"`, `"colour": "red", "mode"`, 1)
	enqueue(t, unknown, "create", "-f", "-").expect(t, 2, "colour")
	enqueue(t, good, "create", "-f", "-", "--dialect", "otc-2").expect(t, 2, `unknown dialect "otc-2"`)
	enqueue(t, good+good, "create", "-f", "-", "--id", "one").expect(t, 2, "--id is given 1 times for 2 requests")
	enqueue(t, good+good, "create", "-f", "-", "--id", "one", "--id", "one").expect(t, 2, "given twice")
	enqueue(t, good, "create", "-f", "-", "--id", "ü").expect(t, 2, "printable ASCII")
	enqueue(t, good, "create", "-f", "-", "--project", "a\nb").expect(t, 2, "--project")
	enqueue(t, good, "create", "-f", "-", "--wait", "--timeout", "0s").expect(t, 2, "--timeout")
	enqueue(t, "", "create").expect(t, 2, "no file")
	enqueue(t, "", "create", "-f", "none.json").expect(t, 2, "none.json")
	enqueue(t, `{"password": `+canary+`}x`, "create", "-f", "-").expect(t, 2, "not JSON")
	enqueue(t, "password: *"+strings.ReplaceAll(canary, "-", ""), "create", "-f", "-").expect(t, 2, "not YAML")
	enqueue(t, "", "create", "--password="+canary, "-f", "-").expect(t, 2, "unknown flag --password")
	enqueue(t, "").expect(t, 2, "enqueue --help")

	enqueue(t, unknown, "create", "-f", "-", "--accept-unknown-fields", "--dry-run").expect(t, 0)
	c = enqueue(t, good+unknown, "create", "-f", "-", "--accept-unknown-fields", "--dry-run", "-o", "json")
	c.expect(t, 0, "standard input, document 2 (line 5): test-good keeps all rules")
	if c.stdout != "{\"name\":\"test-good\"}\n{\"name\":\"test-good\"}\n" {
		t.Errorf("standard output of a dry run: %s", c.stdout)
	}
	if n := len(stored(t, js)); n > 0 {
		t.Errorf("%d messages were published", n)
	}
}

func TestDialectNarrowsTheRules(t *testing.T) {
	t.Setenv("DDS_DIALECT", "flexibleengine")
	enqueue(t, single("test-one", ""), "create", "-f", "-", "--dry-run").expect(t, 2, "password: given absent")
	enqueue(t, single("test-one", canary), "create", "-f", "-", "--dry-run").expect(t, 0)
}

func TestHelpAndVersion(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"create", "--help"}, {"wait", "--help"}} {
		if c := enqueue(t, "", args...); c.code != 0 || !strings.Contains(c.stdout, "Usage: enqueue") || c.stderr != "" {
			t.Errorf("%v: %+v", args, c)
		}
	}
	help := enqueue(t, "", "create", "--help").stdout
	for _, name := range []string{"DDS_PASSWORD", "$DDS_PASSWORD_FILE", "$DDS_RECIPIENT", "AGE1…", "$DDS_PROJECT_ID", "$DDS_REQUESTED_BY", "$TRACEPARENT",
		"$DDS_DIALECT", "$ACCEPT_UNKNOWN_FIELDS", "$ENQUEUE_WAIT", "$ENQUEUE_OUTPUT", "$ENQUEUE_TIMEOUT", "$NATS_URL", "$NATS_CREDS", "$NATS_NKEY", "$NATS_CA", "$NATS_CERT", "$NATS_KEY", "$NATS_INBOX_PREFIX", "Examples:"} {
		if !strings.Contains(help, name) {
			t.Errorf("the help does not name %s", name)
		}
	}
	if c := enqueue(t, "", "version"); c.code != 0 || !strings.HasPrefix(c.stdout, "enqueue ") {
		t.Errorf("version: %+v", c)
	}
}

func TestNATSThatIsNotThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	c := enqueue(t, single("test-one", canary), "create", "-f", "-", "--nats-url", "nats://me:"+canary+"@"+address)
	c.expect(t, 3, address, "NATS_URL", "nothing was published")
	c = enqueue(t, "", "wait", "one", "--nats-url", "nats://me:"+canary+"#@"+address)
	c.expect(t, 3, "NATS_URL")
	c = enqueue(t, "", "wait", "one", "--nats-creds", "none.creds")
	c.expect(t, 3, "none.creds", "NATS_CREDS")
}

func TestStreamThatIsMissing(t *testing.T) {
	startBareNATS(t)
	c := enqueue(t, single("test-one", canary), "create", "-f", "-", "--id", "it's 1", "--recipient", fleet.Recipients()[0])
	c.expect(t, 3, "not stored: no stream takes dds.requests", "worker migrate", `--id 'it'\''s 1'`)
	if c.stdout != "" {
		t.Errorf("standard output names an id that is not stored: %s", c.stdout)
	}
}

func TestSomeAreStoredAndSomeAreNot(t *testing.T) {
	startNATS(t, queue.Layout{RequestsMaxBytes: 1500}) // room for one
	two := single("test-one", canary) + single("test-two", canary)
	args := []string{"create", "-f", "-", "-o", "json", "--wait", "--id", "one", "--id", "two"}
	c := enqueue(t, two, args...)
	c.expect(t, 3, "1 of 2 requests have no receipt:", "these are stored and go on:\n  ", "--id one --id two", "safe")
	results := c.results(t)
	if len(results) != 2 {
		t.Fatalf("results: %v", results)
	}
	good, bad := results[0], results[1]
	if good["error"] != nil {
		good, bad = bad, good
	}
	if good["error"] != nil || good["sequence"] != 1.0 || bad["sequence"] != nil || bad["error"] == nil {
		t.Errorf("results: %v", results)
	}
	message, _ := bad["error"].(map[string]any)["message"].(string)
	if !strings.HasPrefix(message, "not stored: ") {
		t.Errorf("error: %s", message)
	}
	text := enqueue(t, single("test-two", canary), "create", "-f", "-", "--id", strconv.Quote("x"))
	text.expect(t, 3, `"x" (test-two): not stored`)
	if text.stdout != "" {
		t.Errorf("standard output: %s", text.stdout)
	}
}

func TestInterruptedBeforePublishing(t *testing.T) {
	startNATS(t, queue.Layout{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"create", "-f", "-"}, {"wait", "one"}} {
		c := enqueueIn(ctx, t, &watched{}, single("test-one", canary), args...)
		c.expect(t, 130, "interrupted")
		if c.stdout != "" {
			t.Errorf("standard output: %s", c.stdout)
		}
	}
}

// As in `enqueue … | head`: what is stored after nobody reads any more has ids that
// somebody must know.
func TestNobodyReadsStandardOutput(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	defer writer.Close()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var stderr strings.Builder
	program := exec.CommandContext(ctx, os.Args[0], "create", "-f", "-")
	program.Env = append(os.Environ(), asProgram+"=1")
	program.Stdin, program.Stdout, program.Stderr = strings.NewReader(strings.Repeat(single("test-one", ""), 20)), writer, &stderr
	if err := program.Run(); program.ProcessState.ExitCode() != exitFailed {
		t.Errorf("%v, want exit code %d", err, exitFailed)
	}
	all := stored(t, js)
	if len(all) != 20 || !strings.Contains(stderr.String(), "write to standard output: ") {
		t.Errorf("%d of 20 requests are stored; standard error:\n%s", len(all), stderr.String())
	}
	for _, m := range all {
		if id := m.Header.Get(jetstream.MsgIDHeader); !strings.Contains(stderr.String(), "stored test-one as request "+id+"\n") {
			t.Errorf("nobody knows that %s is stored", id)
		}
	}
}
