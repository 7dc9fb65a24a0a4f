package seal

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"ddsworker/internal/provision"
)

const canary = "Canary-7#xQ"

// TestWhatPublishersSeal: it opens under any identity of the fleet, in whatever
// context, and both kinds of sealed values open the same way.
func TestWhatPublishersSeal(t *testing.T) {
	old, fresh := identity(t), identity(t)
	before, rotated := box(t, old), box(t, fresh, old)
	if got := rotated.Recipients(); len(got) != 2 || got[1] != before.Recipients()[0] {
		t.Fatalf("recipients %v", got)
	}
	for what, recipient := range map[string]string{"the first": rotated.Recipients()[0], "the old": before.Recipients()[0]} {
		text, err := For(recipient, provision.NewSecret(canary))
		if err != nil || strings.Contains(text, canary) {
			t.Fatalf("%v", err)
		}
		kept, err := rotated.Keep(text)
		if err != nil {
			t.Fatalf("sealed for %s: %v", what, err)
		}
		if got, err := rotated.Open(kept, "any request"); err != nil || got.Reveal() != canary || !rotated.Kept(kept) {
			t.Errorf("sealed for %s: %v, kept %v", what, err, rotated.Kept(kept))
		}
		if recipient == before.Recipients()[0] {
			continue
		}
		if got, err := before.Open(kept, "any request"); err == nil || !got.IsZero() || errors.Is(err, provision.ErrSealBroken) ||
			!strings.Contains(err.Error(), "SECRETS_IDENTITY_FILE") {
			t.Errorf("without its identity: %v", err)
		}
	}
}

// TestBrokenSeals: what can never be opened says so, at the door where it can be
// told there.
func TestBrokenSeals(t *testing.T) {
	b := box(t, identity(t))
	good, err := For(b.Recipients()[0], provision.NewSecret(canary))
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"nothing": "", "a password": canary, "half": good[:len(good)/2], "more after it": good + "x",
		"a passphrase's": armored(t, passphrased(t)),
		"another file":   armored(t, []byte("not age")), "too much": armored(t, append([]byte("age-encryption.org/v1\n"), make([]byte, maxAge)...)),
	} {
		if kept, err := b.Keep(text); err == nil || !strings.Contains(err.Error(), "file of age") || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %x, %v", what, kept, err)
		}
	}
	kept, err := b.Keep(good)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(kept)
	changed[len(changed)-1]++
	for what, sealed := range map[string][]byte{"changed": changed, "cut": kept[:len(kept)-20], "only a scheme": {schemeAge}, "empty": {}} {
		if got, err := b.Open(sealed, ""); !errors.Is(err, provision.ErrSealBroken) || !got.IsZero() || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestRecipients(t *testing.T) {
	for _, bad := range []string{"", "age1", "AGE-SECRET-KEY-1", strings.Repeat("x", 1000), "ssh-ed25519 AAAA"} {
		if _, err := For(bad, provision.NewSecret(canary)); err == nil || !strings.Contains(err.Error(), "keygen") {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func passphrased(t *testing.T) []byte {
	t.Helper()
	r, err := age.NewScryptRecipient("phrase")
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(1)
	var file bytes.Buffer
	w, err := age.Encrypt(&file, r)
	if err == nil {
		_, err = w.Write([]byte(canary))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func armored(t *testing.T, file []byte) string {
	t.Helper()
	var text bytes.Buffer
	w := armor.NewWriter(&text)
	_, err := w.Write(file)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// BenchmarkSealAtTheDoor is what a password in the clear costs the intake.
func BenchmarkSealAtTheDoor(b *testing.B) {
	box, secret := benchBox(b), provision.NewSecret(canary)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := box.Seal(secret, "01938a3c-7c5e-7a4e-9d0b-3f1f6d0c9a11"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKeepAtTheDoor is what a sealed password costs the intake.
func BenchmarkKeepAtTheDoor(b *testing.B) {
	box := benchBox(b)
	text, err := For(box.Recipients()[0], provision.NewSecret(canary))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := box.Keep(text); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is what the creator pays before a call.
func BenchmarkOpen(b *testing.B) {
	box := benchBox(b)
	ours, err := box.Seal(provision.NewSecret(canary), "")
	if err != nil {
		b.Fatal(err)
	}
	text, err := For(box.Recipients()[0], provision.NewSecret(canary))
	if err != nil {
		b.Fatal(err)
	}
	theirs, err := box.Keep(text)
	if err != nil {
		b.Fatal(err)
	}
	for name, sealed := range map[string][]byte{"at the door": ours, "by its publisher": theirs} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := box.Open(sealed, ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchBox(b *testing.B) *Box {
	b.Helper()
	x, err := age.GenerateX25519Identity()
	if err != nil {
		b.Fatal(err)
	}
	box, err := New(strings.NewReader(x.String()))
	if err != nil {
		b.Fatal(err)
	}
	return box
}
