package store

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
	"ddsworker/internal/tokencache"
)

// Credential is what a process logs in with.
type Credential struct {
	AuthURL  string
	Domain   string
	User     string
	Password provision.Secret
}

// Tokens keeps the tokens of a credential for the whole fleet. Each of its
// methods is one statement, or two, and holds no connection afterwards.
type Tokens struct {
	store  *Store
	sealer provision.Sealer
	worker string
	c      Credential
}

var _ tokencache.Fleet = (*Tokens)(nil)

// Tokens returns the tokens of the credential as the worker of that name sees
// them. What is kept of a password or a token is sealed by sealer.
func (s *Store) Tokens(c Credential, worker string, sealer provision.Sealer) *Tokens {
	return &Tokens{store: s, sealer: sealer, worker: worker, c: c}
}

const lookTokenSQL = `
select coalesce(l.generation, 0), coalesce(l.refreshing_until > now(), false),
	coalesce(l.failures, 0), coalesce(l.failure, ''), coalesce(extract(epoch from l.retry_at - now()), 0)::float8, coalesce(l.failed_passwords, '{}'),
	coalesce(t.failures, 0), coalesce(t.failure, ''), coalesce(extract(epoch from t.retry_at - now()), 0)::float8,
	coalesce(t.generation, 0), t.sealed_token,
	coalesce(extract(epoch from now() - t.obtained_at), 0)::float8, coalesce(extract(epoch from t.expires_at - t.obtained_at), 0)::float8
from (values ($1, $2, $3, $4)) k(auth_url, domain_name, user_name, project_id)
left join logins l using (auth_url, domain_name, user_name)
left join tokens t using (auth_url, domain_name, user_name, project_id)`

// Look implements tokencache.Fleet. A token that cannot be opened, because it was
// sealed under a key that this worker does not hold, is none.
func (t *Tokens) Look(ctx context.Context, projectID string) (tokencache.Entry, error) {
	var e tokencache.Entry
	var refused, failed tokencache.Failure
	var refusedPause, failedPause, age, life float64
	var passwords [][]byte
	var generation int64
	var sealed []byte
	err := t.store.pool.QueryRow(ctx, lookTokenSQL, t.c.AuthURL, t.c.Domain, t.c.User, projectID).Scan(&e.Logins, &e.Busy,
		&e.Refusals, &refused.Message, &refusedPause, &passwords,
		&e.Failures, &failed.Message, &failedPause, &generation, &sealed, &age, &life)
	if err != nil {
		return tokencache.Entry{}, translate(err)
	}
	if sealed != nil {
		if value, err := t.sealer.Open(sealed, t.context("token", projectID)); err == nil {
			e.Token, e.Age = tokencache.NewToken(value.Reveal(), projectID, duration(life)), duration(age)
			e.Token.Generation = generation
		}
	}
	refused.Credentials, refused.Pause, failed.Pause = true, duration(refusedPause), duration(failedPause)
	switch {
	case refused.Pause > 0 && (len(passwords) >= tokencache.MaxPasswords || t.isAmong(passwords)):
		e.Failure = &refused
	case failed.Pause > 0:
		e.Failure = &failed
	}
	return e, nil
}

const beginLoginSQL = `
insert into logins (auth_url, domain_name, user_name, generation, refreshing_by, refreshing_until)
values ($1, $2, $3, $4 + 1, $5, now() + make_interval(secs => $6))
on conflict (auth_url, domain_name, user_name) do update
set generation = excluded.generation, refreshing_by = excluded.refreshing_by, refreshing_until = excluded.refreshing_until
where logins.generation = $4 and (logins.refreshing_until is null or logins.refreshing_until <= now())
returning generation`

// Begin implements tokencache.Fleet.
func (t *Tokens) Begin(ctx context.Context, _ string, seen int64, lease time.Duration) (login int64, ok bool, err error) {
	err = t.store.pool.QueryRow(ctx, beginLoginSQL, t.c.AuthURL, t.c.Domain, t.c.User, seen, t.worker, seconds(lease)).Scan(&login)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	return login, err == nil, translate(err)
}

const succeedSQL = `
with ended as (
	update logins set refreshing_by = null, refreshing_until = null,
		failures = 0, failure = null, failed_passwords = '{}', retry_at = null
	where auth_url = $1 and domain_name = $2 and user_name = $3 and generation = $5
	returning auth_url, domain_name, user_name
)
insert into tokens as t (auth_url, domain_name, user_name, project_id, generation, sealed_token, obtained_at, expires_at)
select auth_url, domain_name, user_name, $4, $5, $6, now(), now() + make_interval(secs => $7) from ended
on conflict (auth_url, domain_name, user_name, project_id) do update
set generation = excluded.generation, sealed_token = excluded.sealed_token, obtained_at = excluded.obtained_at,
	expires_at = excluded.expires_at, failures = 0, failure = null, retry_at = null`

// Succeed implements tokencache.Fleet.
func (t *Tokens) Succeed(ctx context.Context, tok tokencache.Token) (ok bool, err error) {
	sealed, err := t.sealer.Seal(provision.NewSecret(tok.Reveal()), t.context("token", tok.ProjectID))
	if err != nil {
		return false, fmt.Errorf("seal the token: %w", err)
	}
	done, err := t.store.pool.Exec(ctx, succeedSQL, t.c.AuthURL, t.c.Domain, t.c.User, tok.ProjectID, tok.Generation, sealed, seconds(tok.Life))
	return done.RowsAffected() > 0, translate(err)
}

const refusedSQL = `
update logins set refreshing_by = null, refreshing_until = null, failures = failures + 1, failure = $5,
	retry_at = now() + make_interval(secs => $6), failed_passwords = failed_passwords || $7::bytea[]
where auth_url = $1 and domain_name = $2 and user_name = $3 and generation = $4`

const failedSQL = `
with ended as (
	update logins set refreshing_by = null, refreshing_until = null
	where auth_url = $1 and domain_name = $2 and user_name = $3 and generation = $5
	returning auth_url, domain_name, user_name
)
insert into tokens as t (auth_url, domain_name, user_name, project_id, failures, failure, retry_at)
select auth_url, domain_name, user_name, $4, 1, $6, now() + make_interval(secs => $7) from ended where $6 <> ''
on conflict (auth_url, domain_name, user_name, project_id) do update
set failures = t.failures + 1, failure = excluded.failure, retry_at = excluded.retry_at`

// Fail implements tokencache.Fleet.
func (t *Tokens) Fail(ctx context.Context, projectID string, login int64, f tokencache.Failure) error {
	if !f.Credentials {
		_, err := t.store.pool.Exec(ctx, failedSQL, t.c.AuthURL, t.c.Domain, t.c.User, projectID, login, f.Message, seconds(f.Pause))
		return translate(err)
	}
	// Nobody else writes the passwords while this login is the last one.
	var known [][]byte
	err := t.store.pool.QueryRow(ctx, `select failed_passwords from logins where auth_url = $1 and domain_name = $2 and user_name = $3`,
		t.c.AuthURL, t.c.Domain, t.c.User).Scan(&known)
	if err != nil {
		return translate(err)
	}
	more := [][]byte{}
	if !t.isAmong(known) {
		sealed, err := t.sealer.Seal(t.c.Password, t.context("failed password", ""))
		if err != nil {
			return fmt.Errorf("seal the password that failed: %w", err)
		}
		more = append(more, sealed)
	}
	_, err = t.store.pool.Exec(ctx, refusedSQL, t.c.AuthURL, t.c.Domain, t.c.User, login, f.Message, seconds(f.Pause), more)
	return translate(err)
}

// isAmong reports whether our password failed already. One that cannot be opened
// may be ours.
func (t *Tokens) isAmong(passwords [][]byte) bool {
	for _, sealed := range passwords {
		p, err := t.sealer.Open(sealed, t.context("failed password", ""))
		if err != nil || subtle.ConstantTimeCompare([]byte(p.Reveal()), []byte(t.c.Password.Reveal())) == 1 {
			return true
		}
	}
	return false
}

// context binds what is sealed to its credential, its project and its purpose.
func (t *Tokens) context(purpose, projectID string) string {
	return fmt.Sprintf("%s %q %q %q %q", purpose, t.c.AuthURL, t.c.Domain, t.c.User, projectID)
}
