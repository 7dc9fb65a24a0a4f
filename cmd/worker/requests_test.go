package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ddsworker/internal/dds/ddsfake"
)

// cancel and retry need the database alone, say what becomes of each id, and exit
// with 1 where one of them cannot be helped.
func TestCancelAndRetry(t *testing.T) {
	f := newFleet(t, ddsfake.Config{JobMin: time.Hour, JobLag: -1})
	if code, output := build(t).run("cancel", "x"); code != 2 || !strings.Contains(output, "DATABASE_URL") || strings.Contains(output, "OS_USERNAME") {
		t.Errorf("without a database: %d, %s", code, output)
	}
	var settings []string
	for _, s := range f.program.settings {
		if name, _, _ := strings.Cut(s, "="); name == "DATABASE_URL" || name == "SECRETS_IDENTITY_FILE" || name == "HOME" {
			settings = append(settings, s)
		}
	}
	p := *f.program
	p.settings = settings
	want := func(wantCode int, words []string, args ...string) {
		t.Helper()
		code, output := p.run(args...)
		for _, w := range words {
			if !strings.Contains(output, w) {
				t.Errorf("%v: it lacks %q: %s", args, w, output)
			}
		}
		if code != wantCode {
			t.Errorf("%v: exit code %d, want %d", args, code, wantCode)
		}
		if strings.Contains(output, "Canary") {
			t.Errorf("%v shows a password", args)
		}
	}

	f.publish(0, 2)
	f.start(1)
	f.eventually("two builds", time.Minute, func() bool { return f.count(`select count(*) from requests where state = 'building'`) == 2 })
	var first, second string
	err := f.db.QueryRow(t.Context(), `select min(request_id), max(request_id) from requests`).Scan(&first, &second)
	if err != nil {
		t.Fatal(err)
	}
	want(1, []string{first + " is being cancelled: instance", "nobody is not cancelled: no request has this id"}, "cancel", "nobody", first, "--by", "somebody")
	want(0, []string{first + " is being cancelled"}, "cancel", first)
	if n := f.count(`select count(*) from requests where cancel_requested_by = 'somebody'`); n != 1 {
		t.Errorf("%d requests were cancelled by somebody, want 1", n)
	}

	want(1, []string{second + " is not retried: it has not failed but is building"}, "retry", second)
	if _, err := f.db.Exec(t.Context(), `update requests set state = 'failed', finished_at = now() where request_id = $1`, second); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("\n")
	want(1, []string{"there is nothing in it"}, "retry", second, "--password-file", file)
	write("Canary-12\n")
	want(1, []string{"--password-file FILE"}, "retry", second)
	want(1, []string{"nobody is not retried: no request has this id"}, "retry", "nobody", "--password-file", file)
	want(0, []string{second + " is retried"}, "retry", second, "--password-file", file)
	f.eventually("the retry to follow its instance", time.Minute, func() bool {
		return f.count(`select count(*) from events where request_id = '`+second+`' and kind = 'adopted'`) == 1
	})
	f.stop()
}
