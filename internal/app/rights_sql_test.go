package app_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"ddsworker/internal/store"
	"ddsworker/migrations"
)

// sealedColumns are what nobody but a worker may read. Whatever is sealed is of
// type bytea.
var sealedColumns = []string{"logins.failed_passwords", "requests.sealed_password", "tokens.sealed_token"}

// roles is a database that deploy/ made ready, and a user of each role.
type roles struct {
	t     *testing.T
	super *pgxpool.Pool
	conns map[string]*pgx.Conn
}

func newRoles(t *testing.T) *roles {
	t.Helper()
	address := env.EmptyPostgres(t)
	super, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(super.Close)
	runSQL(t, address, "roles.sql")
	runSQL(t, address, "roles.sql")
	r := &roles{t: t, super: super, conns: map[string]*pgx.Conn{}}
	for _, name := range []string{"owner", "worker", "pruner", "reader"} {
		user := login(t, super, "ddsworker_"+name)
		if name == "owner" {
			if _, err := store.Migrate(t.Context(), user, migrations.Files); err != nil {
				t.Fatal(err)
			}
			runSQL(t, user, "grants.sql")
			runSQL(t, user, "grants.sql")
		}
		if r.conns[name], err = pgx.Connect(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.conns[name].Close(context.Background()) })
	}
	return r
}

// refused fails unless the server says that the user has no right to do this.
func (r *roles) refused(who, statement string) {
	r.t.Helper()
	_, err := r.conns[who].Exec(r.t.Context(), statement)
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code != "42501" {
		r.t.Errorf("%s: %s: got %v, want SQLSTATE 42501", who, statement, err)
	}
}

func (r *roles) list(query string) []string {
	r.t.Helper()
	rows, err := r.super.Query(r.t.Context(), query)
	if err != nil {
		r.t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(list) == 0 {
		r.t.Fatalf("%d rows, %v", len(list), err)
	}
	return list
}

func (r *roles) tables() []string {
	r.t.Helper()
	return r.list(`select tablename from pg_tables where schemaname = 'public'`)
}

// Nobody changes what is not his, and nobody but the owner makes anything.
func TestPostgresRefuses(t *testing.T) {
	r := newRoles(t)
	for _, table := range r.tables() {
		column := r.list(`select column_name from information_schema.columns where is_identity = 'NO' and table_name = '` + table + `'`)[0]
		for _, who := range []string{"worker", "reader"} {
			if who != "worker" || table != "outbox" { // what is published leaves it
				r.refused(who, `delete from `+table)
			}
			r.refused(who, `truncate `+table)
			r.refused(who, `drop table `+table)
			r.refused(who, `alter table `+table+` add more text`)
			r.refused(who, `alter table `+table+` disable trigger all`)
		}
		r.refused("pruner", `truncate `+table)
		if !strings.HasPrefix(table, "pruned_") {
			r.refused("pruner", `insert into `+table+` default values`)
			r.refused("pruner", `update `+table+` set `+column+` = `+column)
		}
		r.refused("reader", `insert into `+table+` default values`)
		r.refused("reader", `update `+table+` set `+column+` = `+column)
		r.refused("reader", `select 1 from `+table+` for update`)
	}
	for _, who := range []string{"worker", "pruner", "reader"} {
		r.refused(who, `create table more (id int)`)
		r.refused(who, `create temporary table more (id int)`)
		r.refused(who, `create schema more`)
		r.refused(who, `drop view provisioning_history`)
		r.refused(who, `create function more() returns int language sql as 'select 1'`)
		r.refused(who, `set role ddsworker_owner`)
	}
	for _, statement := range []string{
		`insert into goose_db_version (version_id, is_applied) values (99, true)`,
		`update goose_db_version set version_id = 99`,
		`update installation set id = gen_random_uuid()`,
		`update installation set epoch = 9`,
		`insert into installation default values`,
		`update requests set spec = '{}'`,
		`update requests set had_password = false`,
		`update marks set request_id = 'another'`,
		`update events set kind = 'forged'`,
		`update attempts set number = 7`,
		`update instances set request_id = 'another'`,
		`update rejections set code = 'forged'`,
		`update orphans set mark = null`,
		`update logins set auth_url = 'https://elsewhere'`,
		`update tokens set project_id = 'another'`,
		`update budgets set scope = 'another'`,
	} {
		r.refused("worker", statement)
	}
	for _, statement := range []string{`delete from marks`, `delete from pruned_requests`, `delete from pruned_instances`, `delete from projects`, `delete from tokens`,
		`update pruned_requests set fingerprint = ''`, `select spec from requests`, `select sealed_password from requests`, `select sealed_token from tokens`} {
		r.refused("pruner", statement)
	}
	for _, statement := range []string{`select * from requests`, `select sealed_password from requests`,
		`select failed_passwords from logins`, `select sealed_token from tokens`, `select t::text from tokens t`,
		`create view leak as select sealed_token from tokens`} {
		r.refused("reader", statement)
	}
	for _, statement := range []string{`create role more`, `copy requests to program 'cat'`, `alter system set ssl = off`,
		`create schema more`} {
		r.refused("owner", statement)
	}
}

// Whoever adds a column has to say whether it is for readers.
func TestReadersSeeAllButWhatIsSealed(t *testing.T) {
	r := newRoles(t)
	columns := r.list(`select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
		where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'p') and a.attnum > 0 and not a.attisdropped`)
	for _, name := range columns {
		table, column, _ := strings.Cut(name, ".")
		if slices.Contains(sealedColumns, name) {
			r.refused("reader", `select `+column+` from `+table)
		} else if _, err := r.conns["reader"].Exec(t.Context(), `select `+column+` from `+table); err != nil {
			t.Errorf("%s: %v; grants.sql has to name it, or the list of what is sealed", name, err)
		}
	}
	for _, name := range sealedColumns {
		if !slices.Contains(columns, name) {
			t.Errorf("there is no %s", name)
		}
	}
	for _, name := range r.list(`select table_name || '.' || column_name from information_schema.columns
		where table_schema = 'public' and udt_name in ('bytea', '_bytea')`) {
		if !strings.HasSuffix(name, "requests.fingerprint") && !slices.Contains(sealedColumns, name) {
			t.Errorf("%s can be read by readers: is it sealed?", name)
		}
	}
}

// A new version's migration leaves nobody with more or less than the files say.
func TestGrantsAreTakenBack(t *testing.T) {
	r := newRoles(t)
	rights := `select coalesce(string_agg(r, ' ' order by r), '') from (
		select c.relname || coalesce(c.relacl::text, '') || coalesce(string_agg(a.attname || a.attacl::text, ' ' order by a.attname), '') as r
		from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attacl is not null
		where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v') group by c.oid) x`
	before := r.list(rights)[0]
	for _, grant := range []string{`grant delete on requests to ddsworker_worker`, `grant select (sealed_token) on tokens to ddsworker_reader`} {
		if _, err := r.super.Exec(t.Context(), grant); err != nil {
			t.Fatal(err)
		}
	}
	if r.list(rights)[0] == before {
		t.Fatal("the rights did not change")
	}
	runSQL(t, r.conns["owner"].Config().ConnString(), "grants.sql")
	if after := r.list(rights)[0]; after != before {
		t.Errorf("rights:\n%s\nwere:\n%s", after, before)
	}
}

// Whoever may make roles and owns the database can do without a superuser.
func TestRolesWithoutASuperuser(t *testing.T) {
	r := newRoles(t)
	u, err := url.Parse(login(t, r.super, "ddsworker_reader"))
	if err != nil {
		t.Fatal(err)
	}
	database := strings.TrimPrefix(u.Path, "/")
	for _, statement := range []string{`alter role ` + u.User.Username() + ` createrole`,
		`alter database ` + database + ` owner to ` + u.User.Username()} {
		if _, err := r.super.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _, _ = r.super.Exec(context.Background(), `alter database `+database+` owner to current_user`) })
	runSQL(t, u.String(), "roles.sql")
}
