package dds

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf16"

	"ddsworker/internal/provision"
)

// escapes are the ways in which a service may repeat what it was sent.
func escapes(secret string) map[string]string {
	quoted := func(s string) string {
		b, _ := json.Marshal(s)
		return string(b[1 : len(b)-1])
	}
	units := func(s string) string {
		var b strings.Builder
		for _, u := range utf16.Encode([]rune(s)) {
			fmt.Fprintf(&b, `\u%04X`, u)
		}
		return b.String()
	}
	var ascii strings.Builder
	for _, r := range quoted(secret) {
		if r < 128 {
			ascii.WriteRune(r)
		} else {
			ascii.WriteString(units(string(r)))
		}
	}
	return map[string]string{
		"plain": secret, "JSON": quoted(secret), "JSON in JSON": quoted(quoted(secret)), "three deep": quoted(quoted(quoted(secret))),
		"slashes": strings.ReplaceAll(secret, "/", `\/`), "all escaped": units(secret), "ASCII": ascii.String(),
		"HTML": html.EscapeString(secret), "URL": url.PathEscape(secret), "query": url.QueryEscape(secret),
	}
}

func TestScrub(t *testing.T) {
	for _, secret := range []string{tokenCanary, passCanary, `a\\b`, "x", "p\u00e4ss", "100%41&amp;\U0001F600"} {
		for name, form := range escapes(secret) {
			got := newSecrets("", secret).scrub("before|"+form+"|after "+form, false)
			if got != "before|[redacted]|after [redacted]" {
				t.Errorf("%s of %q: %q", name, secret, got)
			}
		}
	}
	for text, want := range map[string]string{
		"token " + tokenCanary[:40] + "...": "token [redacted]...",
		"token " + tokenCanary[:15] + "...": "token " + tokenCanary[:15] + "...",
		"ends with M":                       "ends with M",
	} {
		if got := newSecrets(tokenCanary).scrub(text, false); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	for _, cutOff := range []string{`Pa\"s/`, `Pa\"s/s\u00`, `Pa\"s/s\`, `P`, `Pa%22s%2`, `Pa&quot`} {
		if got := newSecrets(passCanary).scrub(`{"password":"`+cutOff, true); got != `{"password":"[redacted]` {
			t.Errorf("%s, the beginning of a password at the cut: %q", cutOff, got)
		}
	}
	if got := newSecrets(passCanary).scrub(`C:\dir 100% &amp; \u00e4`, false); got != `C:\dir 100% &amp; \u00e4` {
		t.Errorf("a text without a secret changed: %q", got)
	}
	if got := newSecrets(passCanary).scrub(strings.Repeat("-", maxScrubbed-4)+passCanary, false); strings.Contains(got, "Pa") {
		t.Errorf("the beginning of a password where the text is cut: %q", got[maxScrubbed-10:])
	}
}

// encodings are the ways in which a service may repeat a text with a secret as a
// whole; what stands before the secret decides what it looks like.
func encodings(secret string) map[string]string {
	out := map[string]string{"small letters": strings.ToLower(secret), "capitals": strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, secret)}
	quoted, _ := json.Marshal(secret)
	for before := range 4 {
		text := []byte(strings.Repeat("?", before) + secret + ">?")
		out[fmt.Sprintf("base64 behind %d", before)] = base64.StdEncoding.EncodeToString(text)
		out[fmt.Sprintf("base64 of URLs behind %d", before)] = base64.RawURLEncoding.EncodeToString(text)
		out[fmt.Sprintf("base64 of JSON behind %d", before)] = base64.StdEncoding.EncodeToString(append(text[:before:before], quoted...))
		out[fmt.Sprintf("base64 behind %d, cut", before)] = base64.StdEncoding.EncodeToString(text[:before+min(len(secret), 18)])
		out[fmt.Sprintf("base64 behind %d in a URL", before)] = url.QueryEscape(base64.StdEncoding.EncodeToString(text))
	}
	out["hex"], out["hex in capitals"] = fmt.Sprintf("%x", secret), fmt.Sprintf("F%X", secret)
	return out
}

func TestScrubDecodes(t *testing.T) {
	for _, secret := range []string{tokenCanary, passCanary, "Passw0rd"} {
		for name, form := range encodings(secret) {
			for _, before := range []string{"", "abc", "x="} {
				got := newSecrets(secret).scrub(before+form+" after", false)
				got = strings.NewReplacer("[redacted]", "", ">?", "", "=", "").Replace(got) // padding may stay, and what is behind it
				if got != " after" && got != "abc after" && got != "x after" {
					t.Errorf("%s of %q: %q", name, secret, got)
				}
			}
		}
	}
	for _, text := range []string{"request 5a3b2c1d0e9f48a7b6c5d4e3f2a1b0c9 of instance 0123456789abcdef0123456789abcdefin02", base64.StdEncoding.EncodeToString([]byte("a text without it"))} {
		if got := newSecrets(tokenCanary, passCanary).scrub(text, true); got != text {
			t.Errorf("a text without a secret changed: %q", got)
		}
	}
	cutOff := `{"encoded":"` + base64.StdEncoding.EncodeToString([]byte(`{"password":"`+passCanary[:6]))
	if got := newSecrets(passCanary).scrub(cutOff, true); strings.Contains(got, "eyJwYXNz") {
		t.Errorf("the beginning of a password where the encoded text is cut: %q", got)
	}
}

// TestEchoesAreRedacted: services repeat requests in their errors.
func TestEchoesAreRedacted(t *testing.T) {
	for secretName, secret := range map[string]string{"token": tokenCanary, "password": passCanary} {
		forms := escapes(secret)
		maps.Copy(forms, encodings(secret))
		for name, form := range forms {
			message, _ := json.Marshal("bad: " + form + " and more")
			for _, h := range []http.HandlerFunc{
				says(400, nil, `{"error_code":"DBS.280001","error_msg":`+string(message)+`}`),
				says(400, nil, `{"error":{"code":400,"message":`+string(message)+`}}`),
				says(502, nil, form), says(202, nil, form), says(202, nil, `{"error":`+string(message)+`}`),
				says(400, http.Header{"X-Request-Id": {printable(form)}}, ""),
				says(202, http.Header{"X-Request-Id": {strings.Repeat("-", 110) + printable(form)}}, "{}"),
				says(400, nil, `{"error_code":"DBS.280001","error_msg":"x","request_id":`+string(message)+`}`),
				says(307, http.Header{"Location": {"http://" + url.PathEscape(secret) + ".test/"}}, ""),
			} {
				c, _ := served(t, h)
				for o, call := range calls(c) {
					err := call(t.Context())
					if err == nil && o == opDelete {
						continue // it needs no word of the answer
					}
					if err == nil {
						t.Fatalf("no error from %s", o)
					}
					if secretName == "password" && o != opCreate {
						continue // the others do not send it
					}
					fails(t, err, provision.AsCloudError(err).Class)
					if t.Failed() {
						t.Fatalf("%s of the %s, for %s", name, secretName, o)
					}
				}
			}
		}
	}
}
