// Package store keeps requests, attempts, instances, jobs and events in
// Postgres, which is the system of record.
//
// It promises that every change of a request's state is guarded by the state it
// starts from and by its fencing number or, once it is being built, its instance;
// that a batch is one transaction; that whatever changes a state writes the event
// of it in the same statement, but for a look after which a request waits as
// before; and that no call waits for ever. All due times, leases and deadlines are
// Postgres's clock.
package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"ddsworker/internal/provision"
)

// Store is a pool of connections to one database.
type Store struct {
	pool *calls
	gate *gate
	self string // tells its wakings from those of others
}

// Config says how to reach the database.
type Config struct {
	URL      provision.Secret // a connection string or URL, as libpq reads it
	MaxConns int              // of this process; 0: 10

	// CallTimeout is how long a call waits for the database; 0: 35 s, which is a
	// little more than a statement may take there.
	CallTimeout time.Duration
}

// limits of a connection that is not what it was.
const (
	pingTimeout      = 2 * time.Second
	connectTimeout   = 2 * time.Second
	statementTimeout = "30s"
)

// steadyPlans keeps every statement on the plan that it was written for: row by row
// through an index. Planned while the tables are empty, which they are when a fleet
// begins, it would read them whole, and go on so for minutes. Where the whole of an
// index would do as well then, statements say again which rows they want, as any($1),
// or ask for each by itself, in a lateral subquery with offset 0.
var steadyPlans = map[string]string{
	"plan_cache_mode":  "force_generic_plan",
	"enable_seqscan":   "off",
	"enable_hashjoin":  "off",
	"enable_mergejoin": "off",
	"jit":              "off",
}

// errURL does not quote the connection string: it may hold a password.
var errURL = errors.New("DATABASE_URL cannot be read: it wants the form postgres://user:password@host:5432/database?sslmode=…")

// Open returns a Store. It connects when it is first used, so an absent database
// is no error here; a connection string that cannot be read is.
func Open(ctx context.Context, c Config) (*Store, error) { return open(ctx, c, nil) }

// open lets notice have what the server says beside its answers.
func open(ctx context.Context, c Config, notice pgconn.NoticeHandler) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(c.URL.Reveal())
	if err != nil {
		return nil, errURL
	}
	cfg.MaxConns = int32(c.MaxConns)
	if c.MaxConns == 0 {
		cfg.MaxConns = 10
	}
	cfg.ConnConfig.OnNotice = notice
	cfg.PingTimeout = pingTimeout
	cfg.MaxConnLifetimeJitter = 5 * time.Minute
	watched(cfg.ConnConfig)
	setDefault(cfg.ConnConfig.RuntimeParams, "application_name", "ddsworker")
	setDefault(cfg.ConnConfig.RuntimeParams, "statement_timeout", statementTimeout)
	for name, value := range steadyPlans {
		setDefault(cfg.ConnConfig.RuntimeParams, name, value)
	}
	gate := newGate()
	cfg.AfterConnect = gate.afterConnect
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = callTimeout
	}
	return &Store{pool: &calls{pool: pool, timeout: c.CallTimeout}, gate: gate, self: rand.Text()}, nil
}

func setDefault(m map[string]string, key, value string) {
	if _, ok := m[key]; !ok {
		m[key] = value
	}
}

// Close waits for what is running and closes all connections.
func (s *Store) Close() { s.pool.pool.Close() }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return translate(s.pool.Ping(ctx)) }

// LiveRequests counts the requests that have not ended, by state, in the indexes
// that they are claimed by.
func (s *Store) LiveRequests(ctx context.Context) (map[provision.State]int, error) {
	rows, err := s.pool.Query(ctx, `
		select 'pending', count(*) from requests where state = 'pending' and not look_first
		union all
		select state, count(*) from requests where state = 'creating' or (state = 'pending' and look_first) group by state
		union all
		select 'building', count(*) from instances where next_look_at is not null`)
	if err != nil {
		return nil, translate(err)
	}
	counts := map[provision.State]int{provision.Pending: 0, provision.Creating: 0, provision.Building: 0}
	var state provision.State
	var n int
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error { counts[state] += n; return nil })
	return counts, translate(err)
}

// ErrRights means that the database's user has not the right to do this.
var ErrRights = errors.New("the database does not allow it")

// translate turns the driver's errors into ours, by code. Class 42 is no row's fault
// but the statement's or the schema's: requests wait until that is repaired instead of
// being refused for it.
func translate(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "42P01" {
		return fmt.Errorf("the database has no tables of ours, run 'worker migrate' (SQLSTATE %s)", pg.Code)
	}
	return inWords(err)
}

// inWords says what the driver's error is. The message of one that a row caused may
// hold the row, so only its code and constraint pass.
func inWords(err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	switch {
	case slices.Contains([]string{"21", "22", "23", "54"}, pg.Code[:min(2, len(pg.Code))]):
		return fmt.Errorf("%w: SQLSTATE %s %s", provision.ErrUnstorable, pg.Code, strings.TrimSpace(pg.ConstraintName+" "+reason(pg.Code)))
	case pg.Code == "42501":
		return fmt.Errorf("%w: %s (SQLSTATE %s)", ErrRights, pg.Message, pg.Code)
	}
	return fmt.Errorf("postgres: %s (SQLSTATE %s)", pg.Message, pg.Code)
}

// reason says in words what the codes mean that a request's body can cause.
func reason(code string) string {
	return map[string]string{
		"21000": "two rows of one thing",
		"22003": "a number beyond measure",
		"22021": "text that is not UTF-8, or holds a NUL",
		"22P02": "text that is not what its column holds",
		"22P05": "a character that Postgres cannot hold",
		"23505": "it is there already",
		"54001": "nested too deeply",
	}[code]
}

// column takes one field out of every row, for unnest.
func column[T, C any](rows []T, field func(T) C) []C {
	out := make([]C, len(rows))
	for i, r := range rows {
		out[i] = field(r)
	}
	return out
}

// optional takes a text out of a part that a row may lack; nil where it does.
func optional[T, P any](rows []T, part func(T) *P, get func(P) string) []*string {
	return column(rows, func(r T) *string {
		if p := part(r); p != nil {
			return text(get(*p))
		}
		return nil
	})
}

// text is nil for the empty string, so that an absent text is NULL.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func seconds(d time.Duration) float64 { return d.Seconds() }

func duration(secs float64) time.Duration { return time.Duration(secs * float64(time.Second)) }
