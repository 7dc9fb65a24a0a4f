package provision

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	secret := NewSecret(canary)
	type holder struct {
		Open   Secret
		hidden Secret
		Deep   map[string]*Secret
	}
	all := holder{secret, secret, map[string]*Secret{"a": &secret}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%t", "%10.3s", "%T", "%!"} {
		for _, value := range []any{secret, &secret, []Secret{secret}, all, &all} {
			if shown := fmt.Sprintf(verb, value); strings.Contains(shown, canary) ||
				strings.Contains(strings.ToLower(shown), fmt.Sprintf("%x", canary)) {
				t.Errorf("%s of %T shows %s", verb, value, shown)
			}
		}
	}
	if shown := fmt.Sprint(secret); shown != "[redacted]" || secret.String() != shown {
		t.Errorf("printed as %s", shown)
	}
	text, err := json.Marshal(map[Secret]any{secret: all})
	if err != nil || bytes.Contains(text, []byte(canary)) || !bytes.Contains(text, []byte(`"[redacted]"`)) {
		t.Errorf("JSON %s, %v", text, err)
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("m", "secret", secret, "pointer", &secret, "all", all)
	}
	if strings.Contains(log.String(), canary) || strings.Count(log.String(), redacted) < 4 {
		t.Errorf("logged %s", &log)
	}
}

func TestSecretValue(t *testing.T) {
	if s := NewSecret(canary); s.Reveal() != canary || s.IsZero() {
		t.Errorf("reveals %q, zero %t", s.Reveal(), s.IsZero())
	}
	for _, s := range []Secret{{}, NewSecret("")} {
		if s.Reveal() != "" || !s.IsZero() {
			t.Errorf("reveals %q, zero %t", s.Reveal(), s.IsZero())
		}
	}
}

func TestRedactBody(t *testing.T) {
	for body, want := range map[string]string{
		`{"b":1, "a":{"password":"x"}}`:                      `{"a":{"password":"[redacted]"},"b":1}`,
		`[{"adminPassword":{"x":"y"}},{"PASSWD":["z"]}]`:     `[{"adminPassword":"[redacted]"},{"PASSWD":"[redacted]"}]`,
		`{"Pwd":1,"token":2,"client_secret":3,"passwort":4}`: `{"Pwd":"[redacted]","client_secret":"[redacted]","passwort":"[redacted]","token":"[redacted]"}`,
		`{"pass\u0077ord":"x","password":"y"}`:               `{"password":"[redacted]","password":"[redacted]"}`,
		`{"name":"password","port":"8635","region":"r"}`:     `{"name":"password","port":"8635","region":"r"}`,
		`"plain"`: `"plain"`,
		// What Postgres could not hold.
		`{"a":"x\u0000y\ud83d","b":1e400000,"\u0000":1}`:          "{\"a\":\"x\ufffdy\ufffd\",\"b\":\"[number beyond measure]\",\"\ufffd\":1}",
		strings.Repeat("[", 33) + "[1]" + strings.Repeat("]", 33): strings.Repeat("[", 33) + `"[nested too deep]"` + strings.Repeat("]", 33),
	} {
		if got, ok := RedactBody([]byte(body)); !ok || string(got) != want {
			t.Errorf("%s\n gives %s, %t\n want  %s", body, got, ok, want)
		}
	}
	for _, body := range []string{``, `{`, `{"password":"x"} x`, `{} {}`, "\"\xff\"", `password=x`, strings.Repeat("[", 30000)} {
		if got, ok := RedactBody([]byte(body)); ok || got != nil {
			t.Errorf("%.40q gives %s", body, got)
		}
	}
}
