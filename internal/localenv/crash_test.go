package localenv

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// What was committed is there after a crash, and a paused server answers again.
func TestPostgresCrash(t *testing.T) {
	t.Parallel()
	p, err := StartPostgres(t.Context(), Options{Settings: []string{"max_connections=20"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if got := query(t, p.URL(), "show max_connections"); got != "20" {
		t.Errorf("max_connections is %s, want 20", got)
	}
	execute(t, p.URL(), "create table kept as select 'made' as was")
	below := children(p.process.Pid)
	if len(below) == 0 {
		t.Fatal("the server has no processes, so nothing would be checked")
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range below {
		if running(pid) {
			t.Errorf("process %d outlived the server", pid)
		}
	}
	if err := p.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := query(t, p.URL(), "select was from kept"); got != "made" {
		t.Errorf("the table holds %q", got)
	}

	conn, err := pgx.Connect(t.Context(), p.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	resume, err := p.Pause()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := conn.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a paused server: %v, want no answer", err)
	}
	if err := resume(); err != nil {
		t.Fatal(err)
	}
	if got := query(t, p.URL(), "select 'here'"); got != "here" {
		t.Error(got)
	}
	if err := p.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("Stop after a shutdown: %v", err)
	}
}

func execute(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}
