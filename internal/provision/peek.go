package provision

import (
	"encoding/json"
	"errors"
)

// peek reads name and mode from a body that is refused, if they can be read, so
// that its rejection can be recognised.
func peek(body []byte) (name, mode string) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return "", ""
	}
	_ = json.Unmarshal(fields["name"], &name)
	_ = json.Unmarshal(fields["mode"], &mode)
	return shorten(name), shorten(mode)
}

func shorten(s string) string {
	const most = 128
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// violationsOf returns the reasons of a refusal.
func violationsOf(err error) Violations {
	if v, ok := errors.AsType[Violations](err); ok {
		return v
	}
	return Violations{{Path: "body", Given: "unreadable", Allowed: err.Error()}}
}
