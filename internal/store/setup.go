package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// ErrTooNew means that the database was migrated by a newer version.
var ErrTooNew = errors.New("the database is newer than this worker")

// Migrate brings the database to the newest version of files. Any number of
// processes may do so at once: one works, the others wait for it.
func Migrate(ctx context.Context, url string, files fs.FS) (applied int, err error) {
	p, db, err := migrator(url, files, true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, closeDB(p, db)) }()
	if have, want, err := versions(ctx, p); err != nil || have > want {
		return 0, tooNew(have, want, err)
	}
	done, err := p.Up(ctx)
	return len(done), failedMigration(err)
}

// failedMigration names the one that did not work. A table that is missing there is
// none that migrating makes.
func failedMigration(err error) error {
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		return fmt.Errorf("migrate the database: %s: %w", path.Base(partial.Failed.Source.Path), inWords(partial.Err))
	}
	if err != nil {
		return fmt.Errorf("migrate the database: %w", inWords(err))
	}
	return nil
}

// Check returns an error unless the database has exactly the version of files. It
// changes nothing, so it needs no more than to read.
func Check(ctx context.Context, url string, files fs.FS) (err error) {
	p, db, err := migrator(url, files, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeDB(p, db)) }()
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, silence(callTimeout))
	defer cancel()
	// Asked for a version where there is no table of them, goose would make one.
	var migrated bool
	if err := db.QueryRowContext(ctx, `select to_regclass($1) is not null`, goose.DefaultTablename).Scan(&migrated); err != nil {
		return fmt.Errorf("read the database's version: %w", translate(explain(ctx, err)))
	}
	if !migrated {
		return errors.New("the database has no tables of ours: run 'worker migrate'")
	}
	have, want, err := versions(ctx, p)
	err = explain(ctx, err)
	if err == nil && have < want {
		return fmt.Errorf("the database is at version %d and this worker needs %d: run 'worker migrate'", have, want)
	}
	return tooNew(have, want, err)
}

// versions returns the database's version, and the newest of the files.
func versions(ctx context.Context, p *goose.Provider) (have, want int64, err error) {
	sources := p.ListSources()
	want = sources[len(sources)-1].Version
	if have, err = p.GetDBVersion(ctx); err != nil {
		return 0, want, fmt.Errorf("read the database's version: %w", translate(err))
	}
	return have, want, nil
}

func tooNew(have, want int64, err error) error {
	if err == nil && have > want {
		return fmt.Errorf("%w: it is at version %d and this worker only knows %d; run a newer worker", ErrTooNew, have, want)
	}
	return err
}

// lockTries is how long a process waits for another's migration: 300 × 1 s.
const lockTries = 300

func migrator(url string, files fs.FS, locked bool) (*goose.Provider, *sql.DB, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, nil, errURL
	}
	watched(cfg)
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(2)
	db.SetConnMaxIdleTime(time.Second)
	options := []goose.ProviderOption{goose.WithVerbose(false)}
	if locked {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, lockTries))
		if err != nil {
			return nil, nil, errors.Join(err, db.Close())
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, options...)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read the migrations: %w", err), db.Close())
	}
	return p, db, nil
}

func closeDB(p *goose.Provider, db *sql.DB) error {
	return errors.Join(p.Close(), ignoreClosed(db.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}
