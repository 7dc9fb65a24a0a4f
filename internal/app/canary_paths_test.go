package app_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"ddsworker/internal/provision"
	"ddsworker/internal/seal"
)

// route is a way that a request goes: its name is the instance's, the request's
// id, and that of its secret.
type route struct {
	name    string
	body    []byte
	header  map[string]string
	befalls []fate // its create calls, one after the other

	state provision.State // that it must come to
	// What must be seen of it: outcome and class of an attempt, or the code of its
	// rejection; and words of its history.
	via, says string
}

// routes makes them.
type routes struct {
	t         *testing.T
	hunt      *hunt
	recipient string // of the workers
}

// change gives a body its peculiarity.
type change func(password string, fields map[string]any)

// body is a request with a password that no other path has.
func (r *routes) body(name string, changes ...change) []byte {
	r.t.Helper()
	password, fields := r.hunt.password(name), map[string]any{}
	if err := json.Unmarshal(single(name, "password", password), &fields); err != nil {
		r.t.Fatal(err)
	}
	for _, change := range changes {
		change(password, fields)
	}
	return mustJSON(r.t, fields)
}

// set sets a field to what is made of the password.
func set(name string, made func(password string) any) change {
	return func(password string, fields map[string]any) { fields[name] = made(password) }
}

// tag hides what is made of the password in a tag.
func tag(made func(string) string) change {
	return set("tags", func(password string) any { return []map[string]string{{"key": "note", "value": made(password)}} })
}

func without(name string) change {
	return func(_ string, fields map[string]any) { delete(fields, name) }
}

// sealed puts the password, or what is made of it, into sealed_password.
func (r *routes) sealed(recipient string, made func(string) string) change {
	return func(password string, fields map[string]any) {
		r.t.Helper()
		file, err := seal.For(recipient, provision.NewSecret(made(password)))
		if err != nil {
			r.t.Fatal(err)
		}
		fields["sealed_password"] = file
	}
}

func itself(password string) string { return password }

func always(v any) func(string) any { return func(string) any { return v } }

// accepted are taken in; some of them wait.
func (r *routes) accepted() []route {
	elsewhere := set("region", always("zzz"))
	commented := r.body("in-comments")
	commented = append([]byte("{ // the password is "+r.hunt.secret("in-comments")+"\n"), commented[1:]...)
	twice := func(password string) string { return password + password } // longer than a password may be
	return []route{
		{name: "clear", state: provision.Ready, via: "created "},
		{name: "in-comments", body: commented, state: provision.Ready, via: "created "},
		{name: "clear-waits", body: r.body("clear-waits", elsewhere), state: provision.Pending, says: `"zzz"`},
		{name: "sealed", body: r.body("sealed", r.sealed(r.recipient, itself), without("password")), state: provision.Ready, via: "created "},
		{name: "sealed-waits", body: r.body("sealed-waits", r.sealed(r.recipient, itself), without("password"), elsewhere),
			state: provision.Pending, says: `"zzz"`},
		{name: "sealed-weak", body: r.body("sealed-weak", r.sealed(r.recipient, twice), without("password")),
			state: provision.Failed, via: "permanent invalid", says: "the sealed password breaks a rule"},
		{name: "sealed-for-others", body: r.body("sealed-for-others", r.sealed(newIdentity(r.t), itself), without("password")),
			state: provision.Failed, via: "permanent invalid", says: "SECRETS_IDENTITY_FILE"}, // after ten tries
	}
}

// refused break a rule, each with the password in a place or form of its own.
func (r *routes) refused() []route {
	rules := func(name string, changes ...change) route {
		return route{name: name, body: r.body(name, changes...), state: provision.Rejected, via: provision.CodeRules, says: "[redacted]"}
	}
	text := func(name string, made func(body []byte, password string) string, via string) route {
		body := r.body(name)
		return route{name: name, body: []byte(made(body, r.hunt.secret(name))), state: provision.Rejected, via: via}
	}
	behind := func(before string) func(string) string {
		return func(password string) string {
			return base64.StdEncoding.EncodeToString([]byte(before + password + "?>~"))
		}
	}
	inPlain := func(password string) any { return password }
	paths := []route{
		{name: "broken-rule", body: r.body("broken-rule", set("mode", always("Sharded"))), state: provision.Rejected, via: provision.CodeRules, says: "Sharded"},
		rules("weak", set("password", func(password string) any { return password + " " })),
		rules("misspelt", set("pasword", inPlain), without("password")),
		rules("nested", set("datastore", func(password string) any { return map[string]any{"type": "DDS-Community", "admin_pwd": password} })),
		rules("in-a-list", set("password", func(password string) any { return []string{password} })),
		rules("unknown-field", set("note", inPlain)),
		rules("unknown-name", func(password string, fields map[string]any) { fields[password] = 1 }),
		rules("document", set("note", func(password string) any { return `{"x":{"password":"` + password + `"}}` }), without("password")),
		rules("tag", tag(itself)),
		rules("tag-base64-0", tag(behind(""))), rules("tag-base64-1", tag(behind("a"))), rules("tag-base64-2", tag(behind("a:"))),
		rules("note-base64-1", set("note", func(password string) any { return behind("a")(password) })),
		rules("tag-hex", tag(func(password string) string { return hex.EncodeToString([]byte("x" + password)) })),
		rules("note-query", set("note", func(password string) any { return "x=" + url.QueryEscape(password) })),
		rules("tag-swapped", tag(swapCase)),
		rules("both", r.sealed(r.recipient, itself)),
		rules("sealed-is-clear", set("sealed_password", inPlain), without("password")),
		rules("sealed-is-broken", r.sealed(r.recipient, itself), without("password"),
			set("sealed_password", func(password string) any { return "-----BEGIN AGE ENCRYPTED FILE-----\n" + password + "\n" })),
		text("too-large", func(body []byte, password string) string {
			return string(body[:len(body)-1]) + `,"note":"` + strings.Repeat("x", provision.MaxBody) + password + `"}`
		}, provision.CodeRules),
		text("no-json", func(_ []byte, password string) string { return "user=admin&password=" + password }, provision.CodeBody),
		text("cut-off", func(body []byte, _ string) string { return string(body[:len(body)-1]) }, provision.CodeBody),
		text("a-string", func(body []byte, _ string) string { return string(mustJSON(r.t, string(body))) }, provision.CodeBody),
		text("not-utf-8", func(body []byte, password string) string { return string(body) + "\xff" + password }, provision.CodeBody),
		text("broken-comments", func(body []byte, password string) string {
			return "{ // " + password + "\n" + `"mode":"x",` + string(body[1:])
		}, provision.CodeRules),
	}
	header := route{name: "header", body: r.body("header"), state: provision.Rejected, via: provision.CodeHeaders, says: "Dds-Requested-By"}
	header.header = map[string]string{"Dds-Requested-By": "me\a" + r.hunt.secret("header")}
	return append(paths, header)
}

// answered are taken in and called; what the cloud answers repeats them.
func (r *routes) answered() []route {
	refused := func(name string, write func(*intercepted) string) route {
		return route{name: name, befalls: []fate{refuse(400, "DBS.280001", write)}, state: provision.Failed, via: "permanent invalid", says: "[redacted]"}
	}
	failed := func(name, says string, write func(*intercepted) string) route {
		return route{name: name, befalls: []fate{jobFails(write)}, state: provision.Failed, via: "created ", says: says}
	}
	unknown := func(name, via string, befalls ...fate) route {
		return route{name: name, befalls: befalls, state: provision.Ready, via: via}
	}
	return []route{
		refused("echo-plain", inPlain), refused("echo-query", inQuery), refused("echo-path", inPath), refused("echo-html", inHTML),
		refused("echo-base64-0", inBase64(0)), refused("echo-base64-1", inBase64(1)), refused("echo-base64-2", inBase64(2)),
		refused("echo-url-base64", inURLBase64), refused("echo-hex", inHex), refused("echo-capitals", inCapitals),
		refused("echo-token", withItsToken),
		failed("job-plain", "failed: [redacted]", inPlain), failed("job-query", "failed: [redacted]", inQuery),
		failed("job-base64", "failed: [redacted]", inBase64(1)), failed("job-token", "failed: The request with [redacted] failed.", withBeginning),
		unknown("unauthorized", "not_executed auth", refuse(401, "APIGW.0301", withItsToken)),
		unknown("throttled", "not_executed rate", refuse(429, "APIGW.0308", inPlain), refuse(429, "DBS.280443", inBase64(1))),
		unknown("busy", "busy busy", refuse(400, "DBS.200998", inPlain)),
		unknown("page-before", "unknown server", page(500, false)),
		unknown("page-after", "unknown server", page(502, true)),
		unknown("redirected", "unknown server", redirect),
		unknown("silent", "unknown lost", silence),
		unknown("broken", "unknown lost", broken),
		unknown("garbage", "unknown lost", garbage),
		unknown("unidentified", "unknown lost", unidentified),
	}
}

// again are published once others of the same ids have been taken in.
func (r *routes) again() []route {
	second := func(id, name string, changes ...change) route {
		return route{name: id, body: r.body(name, append(changes, set("name", always(id)))...)}
	}
	reused, same := second("clear", "the id of another", set("port", always("2200"))), second("in-comments", "the same with another password")
	reused.state, reused.via, reused.says = provision.Rejected, provision.CodeIDReused, "clear"
	same.state = provision.Ready
	return []route{reused, same}
}

// strange is for a worker whose login is refused.
func (r *routes) strange() []route {
	return []route{{name: "no-login", body: r.body("no-login"), header: map[string]string{"Dds-Project-Id": "strange"},
		state: provision.Pending, says: "IAM.0062"}}
}

// sealedOnly are for a worker that wants sealed passwords.
func (r *routes) sealedOnly() []route {
	return []route{
		{name: "strict-clear", body: r.body("strict-clear"), state: provision.Rejected, via: provision.CodeRules, says: "enqueue"},
		{name: "strict-sealed", body: r.body("strict-sealed", r.sealed(r.recipient, itself), without("password")), state: provision.Ready, via: "created "},
		{name: "strict-echo", body: r.body("strict-echo", r.sealed(r.recipient, itself), without("password")),
			befalls: []fate{refuse(400, "DBS.280001", inBase64(1))}, state: provision.Failed, via: "permanent invalid", says: "[redacted]"},
	}
}
