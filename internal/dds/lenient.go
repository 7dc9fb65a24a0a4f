package dds

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// The cloud writes the same field as a string here and as a number there (§2.4,
// §4.3), and a field that does not matter must not cost the whole answer.

// text takes a string, a number or a boolean, and anything else as empty.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	switch b[0] {
	case '"':
		if isPlain(b) {
			*t = text(b[1 : len(b)-1])
			return nil
		}
		var s string
		if json.Unmarshal(b, &s) == nil {
			*t = text(printable(s))
		}
	case '{', '[', 'n':
	default:
		*t = text(b)
	}
	return nil
}

// isPlain tells whether a JSON string stands for itself: printable ASCII.
func isPlain(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// number returns the value as an integer: 20, "20", "20.0" and "9%".
func (t text) number() (int, bool) {
	f, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(string(t)), "%"), 64)
	if err != nil || !(f >= -1e9 && f <= 1e9) {
		return 0, false
	}
	return int(f), true
}

// object takes an object, and anything else as the zero value.
type object[T any] struct{ value T }

func (o *object[T]) UnmarshalJSON(b []byte) error {
	var v T
	if json.Unmarshal(b, &v) == nil {
		o.value = v
	}
	return nil
}

// instant reads a time of jobs (§3.1, offset without a colon) or of tokens
// (§1.2). One without a zone is UTC. It is zero for anything else.
func (t text) instant() time.Time {
	if t == "" {
		return time.Time{} // most jobs of a list have not ended, and a failed parse is dear
	}
	for _, layout := range []string{"2006-01-02T15:04:05Z0700", time.RFC3339, "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, string(t)); err == nil {
			return at.UTC()
		}
	}
	return time.Time{}
}
