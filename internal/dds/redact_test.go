package dds

import (
	"encoding/json"
	"fmt"
	"html"
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
			got := scrub("before|"+form+"|after "+form, []string{"", secret}, false)
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
		if got := scrub(text, []string{tokenCanary}, false); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	for _, cutOff := range []string{`Pa\"s/`, `Pa\"s/s\u00`, `Pa\"s/s\`, `P`, `Pa%22s%2`, `Pa&quot`} {
		if got := scrub(`{"password":"`+cutOff, []string{passCanary}, true); got != `{"password":"[redacted]` {
			t.Errorf("%s, the beginning of a password at the cut: %q", cutOff, got)
		}
	}
	if got := scrub(`C:\dir 100% &amp; \u00e4`, []string{passCanary}, false); got != `C:\dir 100% &amp; \u00e4` {
		t.Errorf("a text without a secret changed: %q", got)
	}
	if got := scrub(strings.Repeat("-", maxScrubbed-4)+passCanary, []string{passCanary}, false); strings.Contains(got, "Pa") {
		t.Errorf("the beginning of a password where the text is cut: %q", got[maxScrubbed-10:])
	}
}

// TestEchoesAreRedacted: services repeat requests in their errors.
func TestEchoesAreRedacted(t *testing.T) {
	for secretName, secret := range map[string]string{"token": tokenCanary, "password": passCanary} {
		for name, form := range escapes(secret) {
			message, _ := json.Marshal("bad: " + form + " and more")
			for _, h := range []http.HandlerFunc{
				says(400, nil, `{"error_code":"DBS.280001","error_msg":`+string(message)+`}`),
				says(400, nil, `{"error":{"code":400,"message":`+string(message)+`}}`),
				says(502, nil, form), says(202, nil, form), says(202, nil, `{"error":`+string(message)+`}`),
				says(400, http.Header{"X-Request-Id": {printable(form)}}, ""),
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
