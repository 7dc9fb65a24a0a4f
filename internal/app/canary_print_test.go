package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ddsworker/internal/app"
	"ddsworker/internal/dds"
	"ddsworker/internal/provision"
	"ddsworker/internal/store"
	"ddsworker/internal/tokencache"
)

// carriers are values of ours that hold secrets, as code passes them around. What
// is not among them: the body that CreateBody writes is bytes with the password in
// them by its nature, and so is a Message where fmt reaches it through a field that
// is not exported; nothing may print them.
func carriers(t *testing.T, h *hunt) map[string]any {
	t.Helper()
	r := &routes{t: t, hunt: h}
	spec, err := provision.Rules{}.Parse(r.body("password"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "identity.txt")
	box := newIdentityIn(t, file)
	h.identity(t, "identity", file)
	sealed, err := box.Seal(spec.Password, "id")
	if err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, settings: map[string]string{"DDS_ENDPOINT": "https://dds.test", "OS_AUTH_URL": "https://iam.test",
		"NATS_URL": withLogin(t, "nats://nats.test", "user", h.login("NATS_URL")), "DATABASE_URL": withLogin(t, "postgres://db.test/d", "user", h.login("DATABASE_URL")),
		"OS_USERNAME": "user", "OS_PASSWORD": h.login("OS_PASSWORD"), "OS_DOMAIN_NAME": "domain", "OS_PROJECT_ID": "project", "OS_REGION_NAME": "aaa"}}
	config := s.config(nil)
	token := tokencache.NewToken(h.login("token"), "project", time.Hour)
	login := dds.LoginConfig{AuthURL: config.Cloud.AuthURL, Username: "user", Password: config.Cloud.Password, Domain: "domain"}
	iam, err := dds.NewLogin(login)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"Secret": spec.Password, "Spec": spec, "Box": box, "Config": config, "App": &app.App{Config: config}, "Server": config.NATS.Server,
		"NewRequest":  provision.NewRequest{ID: "id", Spec: spec.JSON, SealedPassword: sealed},
		"CreateClaim": provision.CreateClaim{RequestID: "id", Spec: spec.JSON, SealedPassword: sealed},
		"Token":       token, "Entry": tokencache.Entry{Token: token}, "LoginConfig": login, "Login": iam,
		"Credential": store.Credential{User: "user", Password: config.Cloud.Password},
	}
}

// printed is a value in every way in which code might show it.
func printed(v any) []byte {
	var all bytes.Buffer
	type holder struct {
		Open, hidden any
	}
	for _, value := range []any{v, &v, []any{v}, map[string]any{"x": v}, holder{v, v}, &holder{v, v}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&all, verb+"\n", value)
		}
		for _, handler := range []slog.Handler{slog.NewTextHandler(&all, nil), slog.NewJSONHandler(&all, nil)} {
			slog.New(handler).With("with", value).Error("m", "value", value, "error", fmt.Errorf("failed with %v", value))
		}
		text, err := json.Marshal(value)
		fmt.Fprintf(&all, "%s %v\n", text, err)
	}
	return all.Bytes()
}

// TestNoSecretIsPrinted: whoever prints a value that holds a secret shows none.
func TestNoSecretIsPrinted(t *testing.T) {
	var h hunt
	all := carriers(t, &h)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		h.wantNone(t, "print of "+name, printed(all[name]))
	}
	m := provision.Message{Body: []byte(h.secret("password"))}
	text, _ := json.Marshal(m)
	h.wantNone(t, "print of Message", []byte(fmt.Sprintf("%v %+v %#v %s %q %s", m, m, m, m.Body, m.Body, text)))
	if len(h.in(printed([]byte(m.Body)))) == 0 {
		t.Error("a secret that is printed is not found")
	}
}

const panicking = "TEST_NO_SECRET_PANICS"

// TestNoSecretIsInAPanic: a process that dies of a panic in the midst of its
// secrets prints none, neither with the value nor in the traces. A trace shows
// where a text lies and not what it says, so that holds for messages too.
func TestNoSecretIsInAPanic(t *testing.T) {
	if file := os.Getenv(panicking); file != "" {
		die(t, file)
	}
	file := filepath.Join(t.TempDir(), "secrets")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoSecretIsInAPanic$")
	cmd.Env = append(os.Environ(), panicking+"="+file, "GOTRACEBACK=all")
	output, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "panic: in the midst of ") || !strings.Contains(string(output), "app_test.handle(") {
		t.Fatalf("it did not panic: %v: %s", err, output)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var secrets map[string]string
	if err := json.Unmarshal(text, &secrets); err != nil || len(secrets) < 5 {
		t.Fatalf("%d secrets: %v", len(secrets), err)
	}
	var h hunt
	for path, value := range secrets {
		h.add(path, value)
	}
	h.wantNone(t, "output of a panic", output)
}

// die writes its secrets to file and panics with all that holds them.
func die(t *testing.T, file string) {
	var h hunt
	all := carriers(t, &h)
	if err := os.WriteFile(file, mustJSON(t, h.values), 0o600); err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"password":"` + h.secret("password") + `"}`)
	handle(provision.Message{ID: "id", Body: body}, string(body), h.secret("password"), all)
}

//go:noinline
func handle(m provision.Message, text, password string, all map[string]any) {
	panic(fmt.Sprintf("in the midst of %v %+v %#v after %d and %d bytes", all, all, all, len(m.Body), len(text)+len(password)))
}
