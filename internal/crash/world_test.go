package crash

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/dds"
	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/localenv/envtest"
	"ddsworker/internal/provision"
	"ddsworker/internal/provision/storetest"
	"ddsworker/internal/store"
	"ddsworker/internal/tokencache"
)

const region = "aaa"

// forEver keeps the pool's connections, for whom hours pass within milliseconds.
const forEver = "&pool_max_conn_idle_time=100000h&pool_max_conn_lifetime=100000h&pool_health_check_period=100000h&jit=off&plan_cache_mode=force_generic_plan"

// ground is what many runs share, within one bubble: a database, and the way to a
// cloud. Each run has a project of its own, and so rows and a cloud of its own.
type ground struct {
	db     *store.Store
	sql    *pgx.Conn
	clock  *envtest.Clock
	cloud  atomic.Pointer[ddsfake.Cloud]
	client *dds.Client
	tokens *tokens
	runs   int

	installation string
	deaths       int
	close        func()
}

// newGround must be called within a bubble; address and clock come from outside.
func newGround(t *testing.T, address string, clock *envtest.Clock) *ground {
	t.Helper()
	g := &ground{clock: clock}
	var err error
	if g.db, err = store.Open(t.Context(), store.Config{URL: provision.NewSecret(address + forEver)}); err != nil {
		t.Fatal(err)
	}
	if g.sql, err = pgx.Connect(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	if err = g.sql.QueryRow(t.Context(), `select id::text from installation`).Scan(&g.installation); err != nil {
		t.Fatal(err)
	}
	wire := newWire()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.cloud.Load().ServeHTTP(w, r) })}
	served := make(chan error, 1)
	go func() { served <- server.Serve(wire) }()
	way := dds.HTTP{Dial: wire.dial}
	login, err := dds.NewLogin(dds.LoginConfig{AuthURL: "http://127.0.0.1:1", Username: ddsfake.DefaultUser, Domain: ddsfake.DefaultDomain,
		Password: provision.NewSecret(ddsfake.DefaultPassword), HTTP: way})
	if err != nil {
		t.Fatal(err)
	}
	g.tokens = &tokens{login: login}
	if g.client, err = dds.New(dds.Config{Endpoint: "http://127.0.0.1:1", Region: region, Tokens: g.tokens, HTTP: way}); err != nil {
		t.Fatal(err)
	}
	g.close = func() {
		g.client.Close()
		login.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		_ = g.sql.Close(context.Background())
		g.db.Close()
	}
	return g
}

// tokens logs in where there is no token, or the last one was refused.
type tokens struct {
	login *dds.Login
	token tokencache.Token
}

func (k *tokens) Token(ctx context.Context, projectID string) (tokencache.Token, error) {
	if k.token.IsZero() || k.token.ProjectID != projectID {
		token, err := k.login.Login(ctx, projectID)
		if err != nil {
			return token, err
		}
		k.token = token
	}
	return k.token, nil
}

func (k *tokens) Refused(t tokencache.Token, _ bool) bool {
	if t.Reveal() == k.token.Reveal() {
		k.token = tokencache.Token{}
	}
	return true
}

// wire is a network within the process, so that virtual time goes on while
// somebody waits on it.
type wire struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newWire() *wire { return &wire{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (w *wire) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case w.conns <- there:
		return here, nil
	case <-w.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error {
	select {
	case <-w.closed:
	default:
		close(w.closed)
	}
	return nil
}

func (w *wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// world is one run.
type world struct {
	*ground
	t       *testing.T
	script  script
	dialect provision.Dialect
	project string
	cloud   *ddsfake.Cloud
	queue   *queue
	journal *storetest.Journal
	ledger  *ledger
	foreign map[string]bool // instances that are not ours
	wished  bool            // the first request was wished cancelled
	retried bool            // and retried
	audited int             // rounds of the audit
	trail   []string        // what the processes did last, and why they ended
}

func (g *ground) world(t *testing.T, s script, dialect provision.Dialect) *world {
	t.Helper()
	g.runs++
	w := &world{ground: g, t: t, script: s, dialect: dialect, project: fmt.Sprintf("p%07d", g.runs),
		queue: &queue{settled: map[string]string{}}, journal: &storetest.Journal{}, ledger: &ledger{}, foreign: map[string]bool{}}
	cfg := ddsfake.Config{Dialect: string(dialect), Projects: map[string]string{w.project: region}, JobMin: time.Second,
		JobMax: time.Second, JobLag: -1, DeleteTime: time.Second, SettleLag: -1, Seed: 1}
	if dialect == provision.DialectUnion {
		cfg.Dialect = ddsfake.Union
	}
	if s.config != nil {
		s.config(&cfg)
	}
	w.cloud = ddsfake.New(cfg)
	g.cloud.Store(w.cloud)
	g.tokens.token = tokencache.Token{}
	g.setClock()
	if dialect.TakesTags() && !s.fresh {
		w.must(g.db.NoteMarksSeen(t.Context(), w.project))
	}
	if s.cloud != nil {
		s.cloud(w)
	}
	for n, m := range w.published() {
		m.ProjectID, m.ReceivedAt, m.Sequence = w.project, time.Now(), uint64(g.runs*100+n)
		w.queue.publish(m)
	}
	return w
}

// setClock makes the database's time that of the bubble.
func (g *ground) setClock() {
	if now := time.Now(); now.Sub(g.clock.Now()) >= time.Microsecond {
		if err := g.clock.Set(context.Background(), now); err != nil {
			panic(err)
		}
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s in %s: %v\n%s", w.script.name, w.dialect, err, w.history())
	}
}

// plain seals nothing: what is kept sealed is another test's matter.
type plain struct{}

func (plain) Seal(p provision.Secret, _ string) ([]byte, error) { return []byte(p.Reveal()), nil }
func (plain) Keep(sealed string) ([]byte, error)                { return []byte(sealed), nil }
func (plain) Kept([]byte) bool                                  { return false }
func (plain) Open(sealed []byte, _ string) (provision.Secret, error) {
	return provision.NewSecret(string(sealed)), nil
}

type copies struct{}

func (copies) Copy(provision.Rejection) {}

// policy has short waits, because each look costs as many runs as it has moments.
func policy() provision.Policy {
	p := provision.DefaultPolicy()
	p.VisibilityWindow, p.LookMin, p.PollInterval = 4*time.Second, 5*time.Second, 2*time.Second
	return p
}

// worker is a new worker in a process.
func (w *world) worker(p *process) *provision.Worker {
	log := slog.New(slog.DiscardHandler)
	health, policy := provision.NewHealth(log), policy()
	if w.script.policy != nil {
		w.script.policy(&policy)
	}
	served := provision.Served{Region: region, Projects: []string{w.project}}
	db, cloud := rows{p, w.ground}, calls{p, w}
	const name = "w"
	creator := &provision.Creator{Cloud: cloud, Store: db, Sealer: plain{}, Policy: policy, Served: served, Worker: name,
		Installation: w.installation, Dialect: w.dialect, Concurrency: 1, Health: health, Log: log}
	atOnce := creator
	if w.script.apart {
		atOnce = nil
	}
	return &provision.Worker{
		Intake: &provision.Intake{Inbox: inbox{p, w.queue}, Store: db, Copies: copies{}, Sealer: plain{},
			Rules: provision.Rules{Dialect: w.dialect}, Served: served, Creator: atOnce, Batch: 10, Health: health, Log: log},
		Creator: creator,
		Reconciler: &provision.Reconciler{Cloud: cloud, Store: db, Policy: policy, Served: served, Worker: name,
			Dialect: w.dialect, Concurrency: 1, Health: health, Log: log},
		Poller: &provision.Poller{Jobs: cloud, Instances: cloud, Deleter: cloud, Store: db, Policy: policy, Served: served, Worker: name,
			Batch: 10, Concurrency: 1, Health: health, Log: log},
		Relay: &provision.Relay{Store: db, Publisher: publisher{p, w.journal}, Batch: 100, Timeout: 10 * time.Second, Health: health},
	}
}

// limits of a run, which none that works comes near.
const (
	maxTurns = 2000
	maxTime  = 48 * time.Hour
)

// live runs one process until it dies or all is done: of its loops those that have
// something to do, in the order of a request's life.
func (w *world) live(p *process) {
	w.t.Helper()
	defer p.kill()
	worker := w.worker(p)
	began := time.Now()
	for n := 0; !p.isDead(); n++ {
		if n > maxTurns || time.Since(began) > maxTime {
			w.t.Fatalf("%s in %s: no end after %d turns and %v\n%s", w.script.name, w.dialect, n, time.Since(began), w.history())
		}
		w.people(p)
		due := w.due()
		if due.never() && w.audit(p) {
			continue
		}
		if due.never() {
			w.trail = append(w.trail, fmt.Sprintf("a process that did all, with %d side effects", p.calls))
			return
		}
		if d := due.wait(); d > 0 {
			time.Sleep(d)
		}
		calls := p.calls
		w.turn(p, worker, due)
		if p.calls == calls { // a loop pauses, or a row is held
			time.Sleep(100 * time.Millisecond)
		}
	}
	w.deaths++
	w.trail = append(w.trail, fmt.Sprintf("a process that died %s, at %s", p.last, time.Now().UTC().Format("15:04:05.000")))
}

// turn lets each loop that has something to do go one round. What fails is due
// again.
func (w *world) turn(p *process, worker *provision.Worker, due due) {
	if due.message.now() {
		_, _ = worker.Intake.Round(p.ctx, p.ctx)
	}
	if due.create.now() || due.message.now() && !w.script.apart {
		_, _ = worker.Creator.Round(p.ctx, p.ctx)
	}
	if due.look.now() {
		_, _ = worker.Reconciler.Round(p.ctx)
	}
	if due.poll.now() {
		_, _ = worker.Poller.Round(p.ctx, p.ctx)
	}
	if due.event.now() {
		_, _ = worker.Relay.Round(p.ctx)
	}
}

// people do what they do, between any two turns.
func (w *world) people(p *process) {
	if w.script.people != nil && !p.isDead() {
		w.script.people(w)
	}
}

// due is when each loop has something to do.
type due struct{ message, create, look, poll, event moment }

// moment is a time; zero: never.
type moment struct{ time.Time }

func (m moment) now() bool { return !m.IsZero() && !m.After(time.Now()) }

func (d due) all() []moment { return []moment{d.message, d.create, d.look, d.poll, d.event} }

func (d due) never() bool {
	return !slices.ContainsFunc(d.all(), func(m moment) bool { return !m.IsZero() })
}

// wait is how long nothing is due.
func (d due) wait() time.Duration {
	first := time.Duration(math.MaxInt64)
	for _, m := range d.all() {
		if !m.IsZero() {
			first = min(first, time.Until(m.Time))
		}
	}
	return first
}

func (w *world) due() (d due) {
	w.t.Helper()
	var create, look, poll *time.Time
	var event bool
	w.must(w.sql.QueryRow(context.Background(), `select
		(select min(next_attempt_at) from requests where project_id = $1 and state = 'pending' and not look_first),
		(select min(next_attempt_at) from requests where project_id = $1 and (state = 'pending' and look_first or state = 'creating')),
		(select min(next_look_at) from instances where project_id = $1),
		exists (select 1 from outbox)`, w.project).Scan(&create, &look, &poll, &event))
	for _, m := range []struct {
		from *time.Time
		to   *moment
	}{{create, &d.create}, {look, &d.look}, {poll, &d.poll}} {
		if m.from != nil {
			m.to.Time = *m.from
		}
	}
	d.message.Time = w.queue.next()
	if event {
		d.event.Time = time.Now()
	}
	return d
}
