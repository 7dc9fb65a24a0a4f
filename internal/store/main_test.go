package store_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/localenv/envtest"
	"ddsworker/internal/provision"
	"ddsworker/internal/store"
	"ddsworker/migrations"
)

var env = envtest.Env{Migrate: func(ctx context.Context, url string) error {
	if _, err := store.Migrate(ctx, url, migrations.Files); err != nil {
		return err
	}
	return runFiles(ctx, url, "../../deploy/roles.sql", "../../deploy/grants.sql")
}}

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

const (
	project = "0123456789abcdef0123456789abcdef"
	region  = "aaa"
)

var served = provision.Served{Region: region, Projects: []string{project}}

// runFiles runs files of SQL as the superuser.
func runFiles(ctx context.Context, url string, files ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, string(text)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// asWorker is the address with the rights of a worker, so that the tests show
// that those suffice for all that the Store does.
func asWorker(t *testing.T, address string) string { return as(t, address, "ddsworker_worker") }

func as(t *testing.T, address, role string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("role", role)
	u.RawQuery = q.Encode()
	return u.String()
}

// db is a Store with the rights of a worker on a database of its own, and the
// superuser's plain connection beside it.
type db struct {
	*store.Store
	t   *testing.T
	sql *pgx.Conn
	url string
	n   uint64
}

func open(t *testing.T) *db {
	t.Helper()
	return openAt(t, env.Postgres(t))
}

// copyOf is a copy of the database. d.sql does not survive it.
func (d *db) copyOf() *db { return openAt(d.t, env.CopyPostgres(d.t, d.url)) }

func openAt(t *testing.T, url string) *db {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: provision.NewSecret(asWorker(t, url))})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		_ = conn.Close(context.Background())
	})
	return &db{Store: s, t: t, sql: conn, url: url}
}

func newRequest(id string, sequence uint64) provision.NewRequest {
	return provision.NewRequest{ID: id, ProjectID: project, Region: region, Name: "name-" + id, Mode: "Single",
		Spec: []byte(`{"name":"name-` + id + `","mode":"Single"}`), SealedPassword: []byte("sealed"),
		Fingerprint: [32]byte{byte(len(id)), id[0]}, ReceivedAt: time.Unix(1700000000, 0), Sequence: sequence}
}

// accept takes requests in, in a project whose tags are proved.
func (d *db) accept(ids ...string) {
	d.t.Helper()
	d.must(d.NoteMarksSeen(d.t.Context(), project))
	var batch []provision.NewRequest
	for _, id := range ids {
		d.n++
		batch = append(batch, newRequest(id, d.n))
	}
	found, err := d.Accept(d.t.Context(), batch, provision.ClaimQuery{})
	d.must(err)
	for i, f := range found {
		if f.Found != provision.Accepted {
			d.t.Fatalf("%s: found %v, want it accepted", ids[i], f)
		}
	}
}

func (d *db) claim(lease time.Duration) []provision.CreateClaim {
	d.t.Helper()
	claims, err := d.ClaimCreates(d.t.Context(), provision.ClaimQuery{Served: served, Worker: "w1", Limit: 100, Lease: lease, Settle: time.Hour})
	d.must(err)
	return claims
}

func (d *db) looks(lease time.Duration) []provision.LookClaim {
	d.t.Helper()
	claims, err := d.ClaimLooks(d.t.Context(), provision.ClaimQuery{Served: served, Worker: "w2", Limit: 100, Lease: lease})
	d.must(err)
	return claims
}

func (d *db) polls() []provision.PollClaim {
	d.t.Helper()
	claims, err := d.ClaimPolls(d.t.Context(), provision.ClaimQuery{Served: served, Worker: "w1", Limit: 100, Lease: time.Minute})
	d.must(err)
	return claims
}

// created is the outcome of a call that worked.
func created(c provision.CreateClaim) provision.CreateResult {
	return provision.CreateResult{RequestID: c.RequestID, Fence: c.Fence, Attempt: c.Attempt, Outcome: provision.OutcomeCreated,
		Created: provision.Created{InstanceID: "i-" + c.RequestID, JobID: "j-" + c.RequestID, Status: "creating", HTTPStatus: 202, CloudRequestID: "cr"},
		Next:    provision.Next{State: provision.Building}}
}

func (d *db) reject(r provision.Rejection) {
	d.t.Helper()
	_, err := d.Reject(d.t.Context(), []provision.Rejection{r})
	d.must(err)
}

func (d *db) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// one reads one value.
func one[T any](d *db, query string, args ...any) (v T) {
	d.t.Helper()
	d.must(d.sql.QueryRow(d.t.Context(), query, args...).Scan(&v))
	return v
}

func (d *db) wantState(id string, want provision.State) {
	d.t.Helper()
	if got := one[string](d, `select state from requests where request_id = $1`, id); got != string(want) {
		d.t.Fatalf("request %s is %s, want %s", id, got, want)
	}
}

func (d *db) wantEvents(id string, want string) {
	d.t.Helper()
	got := one[string](d, `select coalesce(string_agg(kind || ':' || state, ' ' order by id), '') from events where request_id = $1`, id)
	if got != want {
		d.t.Fatalf("events of %s:\n got %s\nwant %s", id, got, want)
	}
}

func ids(n int, prefix string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return out
}
