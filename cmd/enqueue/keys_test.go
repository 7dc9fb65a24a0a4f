package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
	"ddsworker/internal/seal"
)

// keys are those of workers.
type keys struct {
	*seal.Box
	identity string // its text, which is secret
}

// fleet holds the identity whose recipient startNATS publishes.
var fleet = newKeys()

func newKeys() keys {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		panic(err)
	}
	box, err := seal.New(strings.NewReader(identity.String()))
	if err != nil {
		panic(err)
	}
	return keys{box, identity.String()}
}

// takeIn reads a stored message as a worker does that takes no password in the
// clear. The password of what it returns is the one that was sealed, if any.
func (k keys) takeIn(t *testing.T, m *jetstream.RawStreamMsg) provision.Spec {
	t.Helper()
	spec, err := provision.Rules{AcceptUnknownFields: true}.Parse(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	if !spec.Password.IsZero() {
		t.Error("a password is in the clear")
	}
	if spec.Sealed == "" {
		return spec
	}
	kept, err := k.Keep(spec.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	if spec.Password, err = k.Open(kept, "any request"); err != nil {
		t.Fatal(err)
	}
	return spec
}

// loud is a password that looks different in every encoding.
const loud = "Canary~1@bird+%"

// forms are what would give a password away.
func forms(password string) []string {
	quoted, _ := json.Marshal(password) // strings cannot fail
	all := []string{password, string(quoted[1 : len(quoted)-1]), url.QueryEscape(password), url.PathEscape(password)}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 { // bytes of something else, which share characters with it
			text := encoding.EncodeToString([]byte(strings.Repeat("x", before) + password))
			all = append(all, text[(before*8+5)/6:len(text)-1])
		}
	}
	return all
}

// expectNoPassword looks for a password in everything that a message holds.
func expectNoPassword(t *testing.T, m *jetstream.RawStreamMsg, password string) {
	t.Helper()
	text := string(m.Data) + fmt.Sprint(m.Header)
	for _, form := range forms(password) {
		if strings.Contains(text, form) {
			t.Errorf("the password is in the message, as %s", form)
		}
	}
}

// with is a body with more fields, which come first.
func with(fields, body string) string { return "{" + fields + "," + body[1:] }

func quote(text string) string {
	quoted, _ := json.Marshal(text) // strings cannot fail
	return string(quoted)
}
