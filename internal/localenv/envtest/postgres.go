package envtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// template is the migrated database that those of the tests are copies of.
type template struct {
	once sync.Once
	name string
	err  error
}

// Postgres makes a database for t alone, a copy of the migrated one, and
// returns its URL. It is dropped after the test, with whatever connections are
// still open.
func (e *Env) Postgres(t testing.TB) string {
	t.Helper()
	e.use(t, &e.postgres, postgresKind())
	e.template.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		e.template.err = e.makeTemplate(ctx)
	})
	if e.template.err != nil {
		t.Fatalf("envtest: prepare the database that tests copy: %v", e.template.err)
	}
	return e.database(t, e.template.name)
}

// EmptyPostgres is like Postgres, but the database has not been migrated.
func (e *Env) EmptyPostgres(t testing.TB) string {
	t.Helper()
	e.use(t, &e.postgres, postgresKind())
	return e.database(t, "template1")
}

// CopyPostgres makes a copy of a database of this server for t alone and returns its
// URL. The connections to the original are broken off, as nobody may be in it
// meanwhile.
func (e *Env) CopyPostgres(t testing.TB, original string) string {
	t.Helper()
	u, err := url.Parse(original)
	if err != nil {
		t.Fatal("envtest: what is to be copied is no URL") // not the parser's error: it repeats the password
	}
	name := strings.TrimPrefix(u.Path, "/")
	for _, sql := range []string{"ALTER DATABASE " + name + " ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '" + name + "'"} {
		if err := e.exec(t.Context(), sql); err != nil {
			t.Fatalf("envtest: %v", err)
		}
	}
	defer func() {
		if err := e.exec(context.WithoutCancel(t.Context()), "ALTER DATABASE "+name+" ALLOW_CONNECTIONS true"); err != nil {
			t.Errorf("envtest: %v", err)
		}
	}()
	return e.database(t, name)
}

func (e *Env) makeTemplate(ctx context.Context) error {
	name := databaseName()
	if err := e.exec(ctx, "CREATE DATABASE "+name); err != nil {
		return err
	}
	e.template.name = name
	if e.Migrate == nil {
		return nil
	}
	url, err := withDatabase(e.postgres.url, name)
	if err != nil {
		return err
	}
	return e.Migrate(ctx, url)
}

func (e *Env) dropTemplate() error {
	if e.template.name == "" || e.postgres.from != fromURL {
		return nil // Nothing was made, or it goes with its server.
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
	defer cancel()
	return e.exec(ctx, "DROP DATABASE "+e.template.name+" WITH (FORCE)")
}

func (e *Env) database(t testing.TB, template string) string {
	t.Helper()
	name := databaseName()
	if err := e.exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		t.Fatalf("envtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
		defer cancel()
		if err := e.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("envtest: %v", err)
		}
	})
	url, err := withDatabase(e.postgres.url, name)
	if err != nil {
		t.Fatalf("envtest: %v", err)
	}
	return url
}

// exec runs one statement as the superuser, on a connection of its own: there
// are too few of them, and none in the middle of a test, for a pool to pay.
func (e *Env) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, e.postgres.url)
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

// databaseName is one that nobody else uses and that needs no quotes.
func databaseName() string { return "envtest_" + strings.ToLower(rand.Text()) }

func withDatabase(server, name string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		// Not the parser's error: it repeats the password.
		return "", errors.New("TEST_DATABASE_URL is not of the form postgres://user:password@host:port/database")
	}
	u.Path = "/" + name
	return u.String(), nil
}
