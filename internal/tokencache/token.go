package tokencache

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

const redacted = "[redacted]"

// Token is an IAM token for one project. However it is printed, logged or
// marshalled, it shows [redacted]; only Reveal gives it away.
type Token struct {
	ProjectID string
	// Life is how long it lives, from when whoever returned it had it.
	Life time.Duration
	// Generation is the number of the fleet's login that brought it.
	Generation int64

	// A pointer: fmt does not call methods on unexported fields of other
	// structs, and prints an address there.
	value *string
}

// NewToken returns a token with the given value.
func NewToken(value, projectID string, life time.Duration) Token {
	return Token{ProjectID: projectID, Life: life, value: &value}
}

// Reveal returns the value for the X-Auth-Token header; empty for the zero Token.
func (t Token) Reveal() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

// IsZero tells whether the token has no value.
func (t Token) IsZero() bool { return t.Reveal() == "" }

// same tells whether both have one value.
func (t Token) same(u Token) bool {
	return t.value == u.value || t.Reveal() == u.Reveal()
}

// String returns [redacted].
func (Token) String() string { return redacted }

// GoString returns [redacted].
func (Token) GoString() string { return redacted }

// Format writes [redacted] for every verb.
func (Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns [redacted].
func (Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns "[redacted]".
func (Token) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText returns [redacted].
func (Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }
