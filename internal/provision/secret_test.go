package provision

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
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
		`{"b":1, "a":{"password":"x"}}`:                                                   `{"a":{"password":"[redacted]"},"b":1}`,
		`[{"adminPassword":{"x":"y"}},{"PASSWD":["z"]}]`:                                  `[{"adminPassword":"[redacted]"},{"PASSWD":"[redacted]"}]`,
		`{"Pwd":1,"token":2,"client_secret":3,"passwort":4}`:                              `{"Pwd":"[redacted]","client_secret":"[redacted]","passwort":"[redacted]","token":"[redacted]"}`,
		`{"pass\u0077ord":"x","password":"y"}`:                                            `{"password":"[redacted]","password":"[redacted]"}`,
		`{"name":"n","port":"8635","region":"r"}`:                                         `{"name":"n","port":"8635","region":"r"}`,
		`{"a":"my PassWord","b":"{\"x\":1}","c":" [1]","d":"\"q\"","e":"[1","f":"{'x'}"}`: `{"a":"[redacted]","b":"[redacted]","c":"[redacted]","d":"[redacted]","e":"[1","f":"{'x'}"}`,
		`["x",1,["y",{"z":"kept"}]]`:                                                      `["[redacted]",1,["[redacted]",{"z":"kept"}]]`,
		`{"password":"Test@123","Test@123":1,"a":"Test@123","b":"Test"}`:                  `{"[redacted]":1,"a":"[redacted]","b":"Test","password":"[redacted]"}`,
		`{"password":12345678,"a":12345678,"b":1234}`:                                     `{"a":"[redacted]","b":1234,"password":"[redacted]"}`,
		// What Postgres could not hold.
		`{"a":"x\u0000y\ud83d","b":1e400000,"\u0000":1}`:          "{\"a\":\"x\ufffdy\ufffd\",\"b\":\"[number beyond measure]\",\"\ufffd\":1}",
		strings.Repeat("[", 33) + "[1]" + strings.Repeat("]", 33): strings.Repeat("[", 33) + `"[nested too deep]"` + strings.Repeat("]", 33),
	} {
		if got, ok := RedactBody([]byte(body)); !ok || string(got) != want {
			t.Errorf("%s\n gives %s, %t\n want  %s", body, got, ok, want)
		}
	}
	for _, body := range []string{``, `{`, `{"password":"x"} x`, `{} {}`, "\"\xff\"", `"plain"`, `1`, `null`, `password=x`, strings.Repeat("[", 30000)} {
		if got, ok := RedactBody([]byte(body)); ok || got != nil {
			t.Errorf("%.40q gives %s", body, got)
		}
	}
}

// hideouts are bodies that have the canary in a place where it was not meant to
// be, or in another form.
func hideouts() map[string]string {
	quoted := strconv.Quote
	field := `"password":` + quoted(canary)
	document := `{` + field + `}`
	std, raw := base64.StdEncoding, base64.RawURLEncoding
	return map[string]string{
		"the body":              quoted(canary),
		"a body in a string":    quoted(document),
		"twice":                 quoted(quoted(document)),
		"a list":                `[` + quoted(canary) + `,[` + quoted(canary) + `]]`,
		"a document":            `{"data":` + quoted(document) + `}`,
		"deeper":                `{"data":[{"x":` + quoted(quoted(document)) + `}]}`,
		"a broken document":     `{"data":` + quoted(`{"p\u0061ss":`+quoted(canary)+`,}`) + `}`,
		"a quoted string":       `{"data":` + quoted(quoted(canary)) + `}`,
		"a long document":       `{"data":` + quoted(`{"a":"`+canary+`","b":"`+strings.Repeat("x", 600)+`"}`) + `}`,
		"a document as a key":   `{` + quoted(document) + `:""}`,
		"a form":                `{"data":"user=a&password=` + canary + `"}`,
		"a form as a key":       `{"password=` + canary + `":""}`,
		"an encoded document":   `{"data":` + quoted(url.QueryEscape(document)) + `}`,
		"a document in base64":  `{"data":` + quoted(std.EncodeToString([]byte(document))) + `,"more":` + quoted(raw.EncodeToString([]byte(document))) + `}`,
		"a second place":        `{` + field + `,"name":"-` + canary + `","x":[{"y":` + quoted(canary) + `}]}`,
		"a key":                 `{` + field + `,` + quoted(canary) + `:1,"x":{"-` + canary + `":2}}`,
		"a misspelt field":      `{"pasword":` + quoted(canary) + `,"name":` + quoted(canary) + `}`,
		"the second of two":     `{"password":"Other-Pass1",` + field + `,"name":` + quoted(canary) + `}`,
		"a document and a name": `{"data":` + quoted(document) + `,"name":` + quoted(canary) + `}`,
		"many": `{"password":["a001","a002","a003","a004","a005","a006","a007","a008","a009","a010","a011","a012","a013","a014","a015","a016","a017",` +
			quoted(canary) + `],"name":` + quoted(canary) + `}`,
	}
}

func TestHiddenSecretsAreFound(t *testing.T) {
	for name, body := range hideouts() {
		t.Run(name, func(t *testing.T) {
			for _, rules := range []Rules{{}, {AcceptUnknownFields: true}} {
				checkSilence(t, rules, []byte(body))
			}
		})
	}
}

// A secret's other forms are as good as itself.
func TestEncodedPasswordsAreRedacted(t *testing.T) {
	const password = "a?>~~Pä/s+1%\"" // differs in every encoding
	text, _ := json.Marshal(password)
	for _, form := range []string{
		password, base64.StdEncoding.EncodeToString([]byte(password)), base64.RawStdEncoding.EncodeToString([]byte(password)),
		base64.URLEncoding.EncodeToString([]byte(password)), base64.RawURLEncoding.EncodeToString([]byte(password)),
		url.QueryEscape(password), url.PathEscape(password), strings.ToLower(url.QueryEscape(password)),
		base64.StdEncoding.EncodeToString([]byte("u" + password + ">?")), base64.RawURLEncoding.EncodeToString([]byte("u:" + password + ">?")),
		base64.StdEncoding.EncodeToString([]byte("u: " + password + ">?")), fmt.Sprintf("%x", "u"+password), fmt.Sprintf("%X", password),
	} {
		shown, _ := json.Marshal("-" + form) // never a valid name
		body := []byte(fmt.Sprintf(`{"password":%s,"name":%s,%s:1}`, text, shown, shown))
		if public, ok := RedactBody(body); !ok || string(public) != `{"[redacted]":1,"name":"[redacted]","password":"[redacted]"}` {
			t.Errorf("%s gives %s", body, public)
		}
		_, err := Rules{}.Parse(body)
		found, _ := errors.AsType[Violations](err)
		hidden := 0
		for _, v := range found {
			if v.Path == redacted || v.Path == "name" && v.Given == redacted {
				hidden++
			}
		}
		if hidden != 4 { // both for what they are, and for repeating the password
			t.Errorf("%s: %v", body, err)
		}
	}
}

// checkSilence checks that nothing that is shown of a body has the canary, in
// plain or in base64.
func checkSilence(t *testing.T, rules Rules, body []byte) {
	t.Helper()
	_, err := rules.Parse(body)
	text, _ := json.Marshal(err)
	public, _ := RedactBody(body)
	for what, shown := range map[string]string{
		"the error": fmt.Sprintf("%+v", err), "the error's JSON": string(text), "the redacted body": string(public),
	} {
		if strings.Contains(shown, canary) || strings.Contains(shown, "eyJwYXNzd29yZ") {
			t.Errorf("%s shows the password: %s", what, shown)
		}
	}
}

// BenchmarkRedactBody is what keeping a body without its secrets costs.
func BenchmarkRedactBody(b *testing.B) {
	body := example(b, "cluster")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := RedactBody(body); !ok {
			b.Fatal("nothing may be shown")
		}
	}
}
