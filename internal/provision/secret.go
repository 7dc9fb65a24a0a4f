package provision

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
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

// UnmarshalText reads the value itself, so that a setting can be a Secret.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// Body is a request's body as it came, which may hold a password: printed like a
// Secret it reads "[redacted]". What may be shown of it RedactBody returns.
type Body []byte

// Format prints "[redacted]", whatever the verb and its flags.
func (Body) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue makes slog print "[redacted]".
func (Body) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText makes JSON and other text encodings print "[redacted]".
func (Body) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// RedactBody returns body without its secrets, for showing and keeping a body
// that was refused. "[redacted]" stands for the value of every field that is
// named like a password or token, at any depth, for whatever repeats such a
// value, plain or encoded, for strings that speak of a secret or are documents
// of their own, and for strings in an array that is the body itself.
//
// The rest is written in canonical form (see Spec.JSON), and what Postgres could
// not hold is replaced: NULs and lone surrogates by U+FFFD, numbers beyond
// measure and deep nesting by a string that says so. It returns false if body is
// not one JSON object or array in UTF-8: then nothing of it may be shown.
func RedactBody(body []byte) ([]byte, bool) {
	if !utf8.Valid(body) {
		return nil, false
	}
	root, _, err := readTree(body)
	if err != nil || root.kind != objectNode && root.kind != arrayNode {
		return nil, false
	}
	known := secretsOf(root)
	if root.kind == arrayNode {
		root.hideItems()
	}
	root.prune(0)
	root.redact(known)
	return root.append(make([]byte, 0, len(body))), true
}

// hideItems replaces the strings of an array, and of arrays in it: there is no
// name to tell what they are.
func (n *node) hideItems() {
	for i := range n.items {
		switch item := &n.items[i]; item.kind {
		case stringNode:
			item.value = redacted
		case arrayNode:
			item.hideItems()
		}
	}
}

// redact makes of n what can be shown.
func (n *node) redact(known secrets) {
	for i := range n.members {
		m := &n.members[i]
		if isSecretName(m.key) {
			m.value = node{kind: stringNode, value: redacted}
		} else {
			m.value.redact(known)
		}
		if known.hidesKey(m.key) {
			m.key = redacted
		}
	}
	n.sort()
	for i := range n.items {
		n.items[i].redact(known)
	}
	switch n.kind {
	case stringNode:
		if IsTelltale(n.value) || known.in(n.value) {
			n.value = redacted
		}
	case numberNode:
		if known.in(n.value) {
			*n = node{kind: stringNode, value: redacted}
		}
	}
}

// clone returns a copy of n that shares nothing with it.
func (n *node) clone() node {
	c := *n
	c.members, c.items = slices.Clone(n.members), slices.Clone(n.items)
	for i := range c.members {
		c.members[i].value = n.members[i].value.clone()
	}
	for i := range c.items {
		c.items[i] = n.items[i].clone()
	}
	return c
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
	return hasSecretWord(lower) || lower == "pass" || editDistance(lower, "password", 3) < 3
}

// hasSecretWord looks at each letter once: of most texts it is all that is done.
func hasSecretWord(lower string) bool {
	for i := range len(lower) {
		switch rest := lower[i:]; rest[0] {
		case 'p':
			if hasPrefix(rest, "password", "passwd", "passphrase", "pwd") {
				return true
			}
		case 't', 's', 'c':
			if hasPrefix(rest, "token", "secret", "credential") {
				return true
			}
		}
	}
	return false
}

func hasPrefix(text string, words ...string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return strings.HasPrefix(text, word) })
}
