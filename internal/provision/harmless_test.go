package provision

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// FuzzHarmless holds what is harmless to what RedactBody makes of it.
func FuzzHarmless(f *testing.F) {
	for _, body := range append(harmful(), harmless()...) {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if !json.Valid([]byte(body)) || !IsHarmless(body) {
			return
		}
		shown, ok := RedactBody([]byte(body))
		var before, after any
		if json.Unmarshal([]byte(body), &before) != nil {
			return // a number beyond float64
		}
		if err := json.Unmarshal(shown, &after); !ok || err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("%q is shown as %q", body, shown)
		}
	})
}

func TestIsHarmless(t *testing.T) {
	for _, body := range harmless() {
		if !IsHarmless(body) {
			t.Errorf("%.80q is harmful", body)
		}
	}
	for _, body := range harmful() {
		if IsHarmless(body) {
			t.Errorf("%.80q is harmless", body)
		}
	}
}

func harmless() []string {
	return []string{`{}`, `{"id":"0123456789abcdef0123456789abcdefin02","port":"8635","ssl":0,"groups":[{"nodes":[{"private_ip":"192.168.0.1"}]}]}`,
		` {}`[1:], `{"a" : [ "b" , -1.5e3 , true, null ]}`, `{"é":"ü"}`}
}

func harmful() []string {
	return []string{"", `[]`, `["x"]`, `{"password":"x"}`, `{"passwort" : 1}`, `{"a":{"user_token":"x"}}`, `{"a":"the password is x"}`, `{"a":["my secret"]}`,
		`{"a":"{\"b\":1}"}`, `{"a":"\u0070assword"}`, `{"a":"cGFzc3dvcmQ9MTIzNDU2"}`, `{"a":"pass%77ord"}`, `{"a":"[1]"}`, `{"a secret":1}`,
		`{"a":1e400000}`, `{"a":` + strings.Repeat("1", 65) + `}`, "{\"a\":\"\xff\"}", `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`}
}
