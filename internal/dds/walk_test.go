package dds

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzWalk: what encoding/json takes is taken, and nothing else, whether it is
// looked into or passed.
func FuzzWalk(f *testing.F) {
	for _, s := range []string{``, ` `, `null`, `nul`, `truefalse`, `-`, `-0`, `01`, `1.`, `1.5e+3`, `1e`, `.5`, `"a`, `"\u00e4\/"`, `"\u00g4"`, `"\x"`, "\"\x01\"", "\"\xff\"",
		`{}`, `{ "a" : [ 1 , {"b":[]} ] }`, `{"a":1,}`, `{"a"}`, `{1:2}`, `{"a":1 "b":2}`, `[,]`, `[1,]`, `[1 2]`, `[}`, `{]`, `{"a":1`, `{}{}`, `{"\u0061":{"a":"x"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		valid := json.Valid(body)
		passing := walker{source: body}
		if passing.value(); passing.ended() != valid {
			t.Errorf("passing %q says %v", body, !valid)
		}
		looking := walker{source: body}
		var value func()
		value = func() {
			switch looking.next() {
			case '{':
				looking.members(func([]byte) { value() })
			case '[':
				looking.items(value)
			default:
				looking.value()
			}
		}
		if value(); looking.ended() != valid {
			t.Errorf("looking into %q says %v", body, !valid)
		}
		if !valid {
			return
		}
		var want map[string]json.RawMessage
		if json.Unmarshal(body, &want) == nil && want != nil {
			got, n := map[string]string{}, 0
			members := walker{source: body}
			members.members(func(key []byte) { got[string(key)] = string(members.value()) })
			for key, value := range want {
				if n++; got[key] != string(value) {
					t.Errorf("%q of %q is %q", key, body, got[key])
				}
			}
			if n != len(got) {
				t.Errorf("%q has %d members", body, len(got))
			}
		}
	})
}

func TestNestingIsBounded(t *testing.T) {
	for depth, ok := range map[int]bool{deepest: true, deepest + 1: false} {
		body := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		if w := (walker{source: body}); json.Valid(body) != ok || (w.value() != nil) != ok {
			t.Errorf("%d levels: not %v", depth, ok)
		}
	}
}
