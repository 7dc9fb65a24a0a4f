package app_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ddsworker/internal/app"
	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/queue"
)

// A worker with another identity than the fleet's ends, and promises nothing.
func TestAForeignIdentityEndsAWorker(t *testing.T) {
	s := newSystem(t, ddsfake.Config{})
	if err := queue.Setup(t.Context(), s.js, queue.Layout{Recipients: []string{newIdentity(t)}}); err != nil {
		t.Fatal(err)
	}
	for _, setup := range []string{"auto", "check"} {
		a := &app.App{Config: s.config(map[string]string{"SETUP": setup}), Log: slog.New(slog.NewTextHandler(s.log, nil))}
		err := a.Run(t.Context())
		if !errors.Is(err, queue.ErrDiffers) || !strings.Contains(err.Error(), "--replace-recipient") {
			t.Errorf("SETUP=%s: it ended with: %v", setup, err)
		}
	}
	if log := s.log.String(); strings.Contains(log, "tried again") {
		t.Errorf("it says that it tries again:\n%s", log)
	}
}

// After a rotation a worker that may change nothing works, and says who has to
// tell publishers.
func TestARotationThatPublishersDoNotKnow(t *testing.T) {
	s := newSystem(t, ddsfake.Config{})
	migrate := func(settings map[string]string) {
		t.Helper()
		a := &app.App{Config: s.config(settings), Log: slog.New(slog.NewTextHandler(s.log, nil))}
		if err := a.Migrate(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	file := s.settings["SECRETS_IDENTITY_FILE"]
	newIdentityIn(t, file)
	migrate(nil)
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "rotated.txt")
	first := newIdentityIn(t, file).Recipients()[0]
	rotated, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(rotated, old...), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{"SETUP": "check", "SECRETS_IDENTITY_FILE": file}
	w := s.start(settings)
	s.eventually("the warning", func() bool {
		return strings.Contains(s.log.String(), "run `worker migrate` to have publishers seal for the first identity")
	})
	s.eventually("readiness", func() bool { return get(t, w, "/readyz") == 200 })
	migrate(settings)
	if published, err := queue.Recipient(t.Context(), s.js); err != nil || published != first {
		t.Errorf("after the migration publishers seal for %q, %v; want %s", published, err, first)
	}
}
