package envtest

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Clock is the time of one database, which stands still until it is set.
type Clock struct {
	conn *pgx.Conn
	at   time.Time
}

// clockSQL puts functions of time in front of the server's own. Defaults of columns
// were bound when their tables were made, so they are bound again.
const clockSQL = `
create schema testclock;
create table testclock.clock (at timestamptz not null) with (fillfactor = 10);
insert into testclock.clock values (pg_catalog.now());
create function testclock.now() returns timestamptz language sql stable as 'select at from testclock.clock';
create function testclock.clock_timestamp() returns timestamptz language sql volatile as 'select at from testclock.clock';
grant usage on schema testclock to public;
grant select on testclock.clock to public;
do $$
declare c record;
begin
	for c in select * from information_schema.columns where table_schema = 'public' and column_default = 'now()' loop
		execute format('alter table public.%I alter column %I set default testclock.now()', c.table_name, c.column_name);
	end loop;
end $$`

// ClockedPostgres is like Postgres, but what the database takes for now is what
// the Clock says. That holds for all statements of connections made with the URL,
// if they ask now() or clock_timestamp().
func (e *Env) ClockedPostgres(t testing.TB) (address string, clock *Clock) {
	t.Helper()
	address = e.Postgres(t)
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatalf("envtest: connect to Postgres: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), clockSQL); err != nil {
		t.Fatalf("envtest: make a clock: %v", err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal("envtest: the address of the database cannot be read")
	}
	q := u.Query()
	q.Set("search_path", "testclock,pg_catalog,public")
	u.RawQuery = q.Encode()
	clock = &Clock{conn: conn}
	if err := clock.Set(t.Context(), time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	return u.String(), clock
}

// Set makes it that time, to the microsecond; it may go back too.
func (c *Clock) Set(ctx context.Context, at time.Time) error {
	c.at = at.Truncate(time.Microsecond)
	if _, err := c.conn.Exec(ctx, `update testclock.clock set at = $1`, c.at); err != nil {
		return fmt.Errorf("envtest: set the database's clock: %w", err)
	}
	return nil
}

// Now is the time it is.
func (c *Clock) Now() time.Time { return c.at }
