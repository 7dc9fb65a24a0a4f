package provision

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode/utf8"
)

// redacted stands wherever a secret would have been printed.
const redacted = "[redacted]"

// Secret holds a password or a token. Printed through fmt (any verb), slog,
// JSON or text it reads "[redacted]"; only Reveal gives the value away.
//
// The value lies behind a pointer because fmt calls no methods on unexported
// fields: there it prints an address. Compare secrets by what Reveal returns.
type Secret struct{ value *string }

// NewSecret wraps value. The empty string makes the zero Secret.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the value itself, "" for the zero Secret.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero tells whether there is no secret at all.
func (s Secret) IsZero() bool { return s.value == nil }

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// Format prints "[redacted]", whatever the verb and its flags.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue makes slog print "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText makes JSON and other text encodings print "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// RedactBody returns body with the value of every field that is named like a
// password or token replaced by "[redacted]", at any depth, for showing and
// keeping a body that was refused. The rest is written in canonical form (see
// Spec.JSON), and what Postgres could not hold is replaced: NULs and lone
// surrogates by U+FFFD, numbers beyond measure and deep nesting by a string that
// says so. It returns false if body is not one JSON value in UTF-8: then nothing
// of it may be shown.
func RedactBody(body []byte) ([]byte, bool) {
	if !utf8.Valid(body) {
		return nil, false
	}
	root, _, err := readTree(body)
	if err != nil {
		return nil, false
	}
	root.prune(0)
	return root.append(nil, redactSecrets), true
}

// prune replaces what cannot be stored.
func (n *node) prune(depth int) {
	switch {
	case n.kind == numberNode && !isMeasurable(n.value):
		*n = node{kind: stringNode, value: "[number beyond measure]"}
	case depth > maxDepth:
		*n = node{kind: stringNode, value: "[nested too deep]"}
	}
	for i := range n.members {
		n.members[i].value.prune(depth + 1)
	}
	for i := range n.items {
		n.items[i].prune(depth + 1)
	}
}

// isSecretName tells whether a field of this name holds a secret. Misspellings
// of "password" count too: their value is most likely the real one.
func isSecretName(name string) bool {
	lower := strings.ToLower(name)
	for _, part := range [...]string{"password", "passwd", "passphrase", "pwd", "token", "secret", "credential"} {
		if strings.Contains(lower, part) {
			return true
		}
	}
	return lower == "pass" || editDistance(lower, "password", 3) < 3
}
