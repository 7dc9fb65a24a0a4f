package seal

import (
	"bytes"
	"strings"
	"testing"

	"filippo.io/age"

	"ddsworker/internal/provision"
)

func identity(t *testing.T) string {
	t.Helper()
	x, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return x.String()
}

func box(t *testing.T, identities ...string) *Box {
	t.Helper()
	b, err := New(strings.NewReader(strings.Join(identities, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEachUseHasItsKeys: what was sealed for one use does not open for another,
// in another context, or under another identity; rotation opens what is old.
func TestEachUseHasItsKeys(t *testing.T) {
	const context = "request 1"
	old, fresh := identity(t), identity(t)
	passwords := box(t, old)
	tokens, err := passwords.Tokens()
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := box(t, fresh, old).Tokens()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := tokens.Seal(provision.NewSecret(canary), context)
	if err != nil || bytes.Contains(sealed, []byte(canary)) {
		t.Fatalf("%x, %v", sealed, err)
	}
	again, err := tokens.Seal(provision.NewSecret(canary), context)
	if err != nil || bytes.Equal(sealed, again) {
		t.Error("the same secret is sealed alike twice")
	}
	for name, b := range map[string]*Box{"the same": tokens, "after a rotation": rotated} {
		if got, err := b.Open(sealed, context); err != nil || got.Reveal() != canary || b.Kept(sealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	foreign, err := box(t, fresh).Tokens()
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1]++
	if _, err := foreign.Open(sealed, context); !strings.Contains(err.Error(), "SECRETS_IDENTITY_FILE") {
		t.Errorf("under another key: %v", err)
	}
	for name, open := range map[string]func() (provision.Secret, error){
		"for passwords":       func() (provision.Secret, error) { return passwords.Open(sealed, context) },
		"in another context":  func() (provision.Secret, error) { return tokens.Open(sealed, "request 2") },
		"under another key":   func() (provision.Secret, error) { return foreign.Open(sealed, context) },
		"changed":             func() (provision.Secret, error) { return tokens.Open(changed, context) },
		"cut":                 func() (provision.Secret, error) { return tokens.Open(sealed[:5], context) },
		"with another scheme": func() (provision.Secret, error) { return tokens.Open(append([]byte{9}, sealed[1:]...), context) },
	} {
		if got, err := open(); err == nil || !got.IsZero() || strings.Contains(err.Error(), canary) {
			t.Errorf("it opens %s: %v", name, err)
		}
	}
}
