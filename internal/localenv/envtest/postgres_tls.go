package envtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgresTLS turns TLS on at the server that the package's tests share, with a
// certificate of a, beside connections without TLS. It is done through SQL, so it
// works wherever the server runs. A server that was given by its address is
// somebody else's: then the test is skipped, or fails where CI is set.
func (e *Env) PostgresTLS(t testing.TB, a *Authority) {
	t.Helper()
	e.use(t, &e.postgres, postgresKind())
	if e.postgres.from == fromURL {
		const why = "TEST_DATABASE_URL names the server, and this test would change its settings; unset it to run this test"
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	u, err := url.Parse(e.postgres.url)
	if err != nil {
		t.Fatal("envtest: the address of Postgres cannot be read")
	}
	certificate, key := a.Issue(t, u.Hostname())
	for _, sql := range []string{
		// Relative to the server's data directory. Postgres takes a key that is readable by itself alone.
		copyTo("envtest.crt", certificate), copyTo("envtest.key", key),
		"ALTER SYSTEM SET ssl_cert_file = 'envtest.crt'", "ALTER SYSTEM SET ssl_key_file = 'envtest.key'",
		"ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()",
	} {
		if err := e.exec(t.Context(), sql); err != nil {
			t.Fatalf("envtest: turn TLS on: %v", err)
		}
	}
	u.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {a.File}}.Encode()
	if err := connectable(t.Context(), u.String()); err != nil {
		t.Fatalf("envtest: Postgres does not take TLS connections: %v", err)
	}
}

// copyTo is a statement by which the server writes a text of several lines, none
// of which has a quote or a backslash, into a file.
func copyTo(file string, text []byte) string {
	return fmt.Sprintf("COPY (SELECT unnest(string_to_array('%s', E'\\n'))) TO PROGRAM 'umask 077; cat > %s'", text, file)
}

// connectable waits until a connection to url succeeds.
func connectable(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
