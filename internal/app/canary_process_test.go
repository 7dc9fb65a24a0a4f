package app_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// program is the worker as people run it.
type program struct {
	s     *system
	path  string
	built chan error
}

// buildWorker begins to build the program; start waits for it.
func buildWorker(s *system) *program {
	p := &program{s: s, path: filepath.Join(s.t.TempDir(), "worker"), built: make(chan error, 1)}
	build := exec.CommandContext(s.t.Context(), "go", "build", "-o", p.path, "../../cmd/worker")
	go func() {
		out, err := build.CombinedOutput()
		if err != nil {
			err = errors.Join(err, errors.New(string(out)))
		}
		p.built <- err
		close(p.built)
	}()
	s.t.Cleanup(func() { <-p.built })
	return p
}

// process is one that runs, with all that it has printed.
type process struct {
	p      *program
	cmd    *exec.Cmd
	output *logBuffer
	ended  chan struct{}
}

// start runs it with the settings of the system and these, which win.
func (p *program) start(settings map[string]string, args ...string) *process {
	p.s.t.Helper()
	if err := <-p.built; err != nil {
		p.s.t.Fatal(err)
	}
	w := &process{p: p, cmd: exec.CommandContext(p.s.t.Context(), p.path, args...), output: &logBuffer{}, ended: make(chan struct{})}
	w.cmd.Env = []string{"HOME=" + p.s.t.TempDir(), "PATH=" + os.Getenv("PATH")}
	for _, from := range []map[string]string{p.s.settings, settings} {
		for name, value := range from {
			w.cmd.Env = append(w.cmd.Env, name+"="+value)
		}
	}
	w.cmd.Stdout, w.cmd.Stderr = w.output, w.output
	if err := w.cmd.Start(); err != nil {
		p.s.t.Fatal(err)
	}
	go func() {
		defer close(w.ended)
		_ = w.cmd.Wait() // how it ended is in its state
	}()
	p.s.t.Cleanup(func() { _ = w.cmd.Process.Kill(); <-w.ended })
	return w
}

// says waits until it has printed all these words.
func (w *process) says(words ...string) {
	w.p.s.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		output := w.output.String()
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(output, word) }) {
			return
		}
		select {
		case <-tick.C:
		case <-w.ended:
			w.p.s.t.Fatalf("it ended and did not say %q: %s", words, w.output)
		case <-deadline:
			w.p.s.t.Fatalf("it does not say %q: %s", words, w.output)
		}
	}
}

// end waits for its end, after a signal if there is one, and returns its exit code.
func (w *process) end(signal os.Signal) int {
	w.p.s.t.Helper()
	if signal != nil {
		if err := w.cmd.Process.Signal(signal); err != nil {
			w.p.s.t.Error(err)
		}
	}
	select {
	case <-w.ended:
	case <-time.After(30 * time.Second):
		w.p.s.t.Errorf("it does not end: %s", w.output)
		_ = w.cmd.Process.Kill()
		<-w.ended
	}
	return w.cmd.ProcessState.ExitCode()
}

// outings are runs of the program that end soon: with wrong logins, with settings
// that cannot be read, and those that only print. Each must say its words.
func (c *canaries) outings() {
	t, p, h, database, broker := c.t, c.program, c.hunt, c.settings["DATABASE_URL"], c.settings["NATS_URL"]
	wrongDatabase, wrongBroker := withLogin(t, database, "", h.login("wrong DATABASE_URL")), withLogin(t, broker, "", h.login("wrong NATS_URL"))
	unreadable := func(path string) string { return "x://user:" + h.login(path) + "@host:port/%zz" }
	wrongSettings := map[string]string{"POLL_INTERVAL": "soon", "DDS_DIALECT": "klingon", "LOG_FORMAT": "xml"}
	takesAny := p.takesAnyLogin(wrongDatabase)
	for name, o := range map[string]struct {
		args     []string
		settings map[string]string
		words    []string
		signal   os.Signal // that ends it, once it has said them
		code     int
	}{
		"a wrong DATABASE_URL":            {settings: map[string]string{"DATABASE_URL": wrongDatabase, "LOG_FORMAT": "text"}, words: []string{"in trouble", "28P01"}, signal: syscall.SIGTERM},
		"a wrong DATABASE_URL, JSON":      {settings: map[string]string{"DATABASE_URL": wrongDatabase}, words: []string{"in trouble", "28P01"}, signal: syscall.SIGTERM},
		"a wrong DATABASE_URL, a trace":   {settings: map[string]string{"DATABASE_URL": wrongDatabase}, words: []string{"in trouble"}, signal: syscall.SIGQUIT, code: 2},
		"a wrong DATABASE_URL, migrate":   {args: []string{"migrate"}, settings: map[string]string{"DATABASE_URL": wrongDatabase}, words: []string{"28P01"}, code: 1},
		"a wrong NATS_URL":                {settings: map[string]string{"NATS_URL": wrongBroker, "LOG_FORMAT": "text"}, words: []string{"in trouble", "Authorization Violation"}, signal: syscall.SIGTERM},
		"a wrong NATS_URL, migrate":       {args: []string{"migrate"}, settings: map[string]string{"NATS_URL": wrongBroker}, words: []string{"Authorization Violation"}, code: 1},
		"an unreadable DATABASE_URL":      {settings: map[string]string{"DATABASE_URL": unreadable("unreadable DATABASE_URL")}, words: []string{"DATABASE_URL cannot be read"}, code: 1},
		"an unreadable NATS_URL":          {settings: map[string]string{"NATS_URL": unreadable("unreadable NATS_URL")}, words: []string{"NATS_URL cannot be read"}, code: 2},
		"an endpoint with a login":        {settings: map[string]string{"DDS_ENDPOINT": "https://user:" + url.QueryEscape(h.login("DDS_ENDPOINT")) + "@host"}, words: []string{"DDS_ENDPOINT must not hold a user"}, code: 1},
		"an unreadable endpoint":          {settings: map[string]string{"OS_AUTH_URL": unreadable("OS_AUTH_URL")}, words: []string{"OS_AUTH_URL"}, code: 2},
		"help":                            {args: []string{"--help"}, words: []string{"$DATABASE_URL", "$NATS_URL", "OS_PASSWORD"}},
		"a wrong setting":                 {settings: wrongSettings, words: []string{"POLL_INTERVAL", "klingon", "LOG_FORMAT"}, code: 2},
		"an unknown flag":                 {args: []string{"--no-such-flag"}, words: []string{"no-such-flag"}, code: 2},
		"a new identity":                  {args: []string{"keygen"}, settings: map[string]string{"SECRETS_IDENTITY_FILE": filepath.Join(t.TempDir(), "new.txt")}, words: []string{"age1"}},
		"an identity that is not one":     {settings: map[string]string{"SECRETS_IDENTITY_FILE": p.brokenIdentity(h)}, words: []string{"SECRETS_IDENTITY_FILE", "AGE-SECRET-KEY-1"}, code: 1},
		"health, of a worker that is not": {args: []string{"health"}, settings: map[string]string{"ADMIN_ADDR": "127.0.0.1:1"}, words: []string{"refused"}, code: 1},
	} {
		if takesAny && strings.Contains(name, "wrong DATABASE_URL") {
			t.Logf("%s is left out: this Postgres takes any password", name)
			continue
		}
		w := p.start(o.settings, o.args...)
		if o.signal != nil {
			w.says(o.words...)
		}
		code := w.end(o.signal)
		w.says(o.words...)
		if code != o.code {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, o.code, w.output)
		}
		if file := o.settings["SECRETS_IDENTITY_FILE"]; name == "a new identity" {
			h.identity(t, "new identity", file)
		}
		h.wantNone(t, "output of the worker with "+name, []byte(w.output.String()))
	}
}

// takesAnyLogin reports whether the database lets a wrong password pass.
func (p *program) takesAnyLogin(address string) bool {
	ctx, cancel := context.WithTimeout(p.s.t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err == nil {
		_ = conn.Close(ctx)
	}
	return err == nil
}

// brokenIdentity is a file with an identity that lost its last letter.
func (p *program) brokenIdentity(h *hunt) string {
	file := filepath.Join(p.s.t.TempDir(), "broken.txt")
	newIdentityIn(p.s.t, file)
	h.identity(p.s.t, "broken identity", file)
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, text[:len(text)-3], 0o600)
	}
	if err != nil {
		p.s.t.Fatal(err)
	}
	return file
}
