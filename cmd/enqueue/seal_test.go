package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
	"ddsworker/internal/seal"
)

func TestPasswordsAreSealed(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	asked := questions(t, js)
	sealedText, err := seal.For(fleet.Recipients()[0], provision.NewSecret(loud))
	if err != nil {
		t.Fatal(err)
	}
	const other = "Second~1@bird+%"
	strange := `"x": {"n": [1.50, 12345678901234567890, 1e2], "<&>": "\u00e9\u2028é\ud83d\ude00 <>&"}`
	sealed := with(`"sealed_password": `+quote(sealedText), with(strange, single("test-sealed", "")))
	requests := []struct{ name, body, password string }{
		{"test-one", single("test-one", loud), loud},
		{"test-strange", with(strange, single("test-strange", other)), other},
		{"test-escaped", strings.Replace(single("test-escaped", loud), `"password"`, `"\u0070ass\u0077ord"`, 1), loud},
		{"test-none", single("test-none", ""), ""},
		{"test-sealed", sealed, loud},
		{"test-comments", single("test-comments", loud), loud},
		{"test-yaml", single("test-yaml", other), other},
	}
	text := "["
	for _, r := range requests[:5] {
		text += r.body + ", // with comments\n"
	}
	text += "]\n" + requests[5].body + "/* the end */"
	args := []string{"create", "-f", "-", write(t, "more.yaml", "# YAML has such comments\n"+requests[6].body), "--accept-unknown-fields"}
	for _, r := range requests {
		args = append(args, "--id", r.name)
	}
	enqueue(t, text, args...).expect(t, 0)
	if n := asked(); n != 1 {
		t.Errorf("the stream was asked %d times for its recipient", n)
	}

	all := map[string]*jetstream.RawStreamMsg{}
	for _, m := range stored(t, js) {
		all[m.Header.Get(jetstream.MsgIDHeader)] = m
		expectNoPassword(t, m, loud)
		expectNoPassword(t, m, other)
	}
	for _, r := range requests {
		t.Run(r.name, func(t *testing.T) {
			before, err := provision.Rules{AcceptUnknownFields: true}.Parse([]byte(r.body))
			if err != nil {
				t.Fatal(err)
			}
			after := fleet.takeIn(t, all[r.name])
			if after.Password.Reveal() != r.password {
				t.Error("another password was sealed, or none")
			}
			if after.Fingerprint("") != before.Fingerprint("") {
				t.Errorf("another request was published:\n%s\nwant:\n%s", after.JSON, before.JSON)
			}
		})
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(sealed)); err != nil || compact.String() != string(all["test-sealed"].Data) {
		t.Errorf("what was sealed already was changed: %v\n%s", err, all["test-sealed"].Data)
	}
}

func TestDryRunSealsNothing(t *testing.T) {
	t.Setenv("NATS_URL", nowhere)
	c := enqueue(t, single("test-one", canary), "create", "-f", "-", "--dry-run", "-o", "json")
	c.expect(t, 0, "test-one keeps all rules")
	if c.stdout != `{"name":"test-one"}`+"\n" {
		t.Errorf("standard output: %s", c.stdout)
	}
}

// A password that breaks the rules is told before anybody is asked.
func TestPasswordIsCheckedBeforeItIsSealed(t *testing.T) {
	t.Setenv("NATS_URL", nowhere)
	enqueue(t, single("test-one", "Canary1"), "create", "-f", "-").expect(t, 2, "password: given [redacted]", "nothing was published")
	repeated := with(`"note": "it is `+canary+`"`, single("test-one", canary))
	enqueue(t, repeated, "create", "-f", "-", "--accept-unknown-fields").expect(t, 2, "repeats the password")
}

func TestBodyThatIsTooLargeOnceSealed(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	body := func(size int) string {
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(with(`"note": ""`, single("test-large", canary)))); err != nil {
			t.Fatal(err)
		}
		return strings.Replace(compact.String(), `""`, quote(strings.Repeat("x", size-compact.Len())), 1)
	}
	create := func(size int) called {
		return enqueue(t, single("test-one", canary)+body(size), "create", "-f", "-", "--accept-unknown-fields")
	}
	create(provision.MaxBody).expect(t, 2, "document 2 (line 5): with its password sealed, the request breaks 1 rule",
		"allowed: at most 65536 bytes", "nothing was published")
	if n := len(stored(t, js)); n > 0 {
		t.Fatalf("%d messages were published", n)
	}
	create(provision.MaxBody-1000).expect(t, 0)
}

func TestWhatIsSealedAlready(t *testing.T) {
	t.Setenv("NATS_URL", nowhere)
	sealedText, err := seal.For(fleet.Recipients()[0], provision.NewSecret(canary))
	if err != nil {
		t.Fatal(err)
	}
	good := with(`"sealed_password": `+quote(sealedText), single("test-one", ""))
	enqueue(t, good, "create", "-f", "-", "--dry-run").expect(t, 0)
	clear := with(`"sealed_password": `+quote(canary), single("test-one", ""))
	enqueue(t, clear, "create", "-f", "-").expect(t, 2, "sealed_password: given [redacted]", "BEGIN AGE ENCRYPTED FILE", "goes into password")
	enqueue(t, good[:len(good)-1]+`, "password": `+quote(canary)+"}", "create", "-f", "-").expect(t, 2, "nothing beside password")
	t.Setenv("DDS_PASSWORD", canary)
	enqueue(t, good, "create", "-f", "-").expect(t, 2, "it has a sealed_password, and DDS_PASSWORD gives another")
}

// The same request is sealed differently each time, and stays the same.
func TestRepeatingIsSafe(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	for range 2 {
		enqueue(t, single("test-one", canary), "create", "-f", "-", "--id", "one").expect(t, 0)
	}
	all := stored(t, js)
	if len(all) != 2 {
		t.Fatalf("%d messages are stored", len(all))
	}
	if bytes.Equal(all[0].Data, all[1].Data) {
		t.Error("two seals are the same")
	}
	if fleet.takeIn(t, all[0]).Fingerprint("p") != fleet.takeIn(t, all[1]).Fingerprint("p") {
		t.Error("the repetition would be refused as another request")
	}
}
