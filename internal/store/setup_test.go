package store_test

import (
	"database/sql"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
	"ddsworker/migrations"
)

// migrator goes to any version.
func (d *db) migrator() *goose.Provider {
	d.t.Helper()
	files, err := sql.Open("pgx", d.url)
	d.must(err)
	d.t.Cleanup(func() { _ = files.Close() })
	p, err := goose.NewProvider(goose.DialectPostgres, files, migrations.Files)
	d.must(err)
	return p
}

// fill writes rows of all kinds.
func (d *db) fill() {
	d.t.Helper()
	d.failed("failed", false)
	d.failed("failed once built", true)
	d.retry("failed once built")
	mark := d.failedRequest("orphaned")
	d.accept("built", "cancelled", "called")
	d.cancel("cancelled")
	for _, c := range d.claim(time.Minute) {
		if c.RequestID == "built" {
			d.must(d.RecordCreates(d.t.Context(), []provision.CreateResult{created(c)}))
		}
	}
	d.accept("pending")
	_, err := d.Reject(d.t.Context(), []provision.Rejection{{RequestID: "rejected", Code: provision.CodeRules, Reasons: provision.Violations{{Path: "x"}},
		Sequence: 77, ReceivedAt: time.Now()}})
	d.must(err)
	orphan := sighting("o", "orphaned", mark)
	orphan.Evidence = json.RawMessage(`{"a": 1}`)
	d.round(provision.OrphanRules{Policy: provision.ReportOrphans, Relist: time.Minute, Retry: time.Hour}, orphan)
}

// Each version can be left again with rows in its tables, one by one and all at once.
func TestMigrationsGoBack(t *testing.T) {
	d := open(t)
	p := d.migrator()
	newest := int64(len(p.ListSources()))
	d.fill()
	_, err := p.DownTo(t.Context(), 0)
	d.must(err)
	if n := one[int](d, `select count(*) from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v') and relname not like 'goose%'`); n != 0 {
		t.Errorf("%d tables are left of nothing", n)
	}
	_, err = p.Up(t.Context())
	d.must(err)
	d.must(runFiles(t.Context(), d.url, "../../deploy/grants.sql"))
	d.fill()
	for v := newest - 1; v >= 0; v-- {
		for _, step := range []func() error{
			func() error { _, err := p.DownTo(t.Context(), v); return err },
			func() error { _, err := p.UpTo(t.Context(), v+1); return err },
			func() error { _, err := p.DownTo(t.Context(), v); return err },
		} {
			if err := step(); err != nil {
				t.Fatalf("between %d and %d: %v", v, v+1, err)
			}
		}
		if v > 0 {
			if n := one[int](d, `select count(*) from provisioning_history`); n < 8 {
				t.Fatalf("at %d the history has %d rows", v, n)
			}
		}
	}
}

// Whoever migrates is told which migration did not work, and not to migrate.
func TestAMigrationThatFailsIsNamed(t *testing.T) {
	d := open(t)
	_, err := d.migrator().DownTo(t.Context(), 10)
	d.must(err)
	d.exec(`alter table installation rename to elsewhere`)
	_, err = store.Migrate(t.Context(), d.url, migrations.Files)
	if err == nil || !strings.Contains(err.Error(), "00011_recovered_event.sql: ") || !strings.Contains(err.Error(), `"installation" does not exist (SQLSTATE 42P01)`) {
		t.Errorf("it says %v", err)
	}
}
