// Package app wires the parts of a worker together: configuration, start and
// stop, health and metrics. It decides nothing about requests.
//
// It promises that a worker starts whatever order its surroundings start in,
// says what it waits for, and ends with everything in flight recorded or given
// back.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/tailscale/hujson"

	"ddsworker/internal/dds"
	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
	"ddsworker/internal/seal"
	"ddsworker/internal/store"
	"ddsworker/internal/tokencache"
	"ddsworker/migrations"
)

// App is one worker process.
type App struct {
	Config  Config
	Log     *slog.Logger
	Version string
	// Listening is called with the admin address once it is served; may be nil.
	Listening func(addr string)
}

// parts is what a worker is made of once its surroundings are there.
type parts struct {
	store    *store.Store
	health   *provision.Health
	metrics  *metrics
	sealer   *seal.Box
	tokens   *tokencache.Cache
	cloud    cloudClient
	conn     *queue.Conn
	copies   *queue.Rejected
	standing *standing
	budget   *provision.Budget
	backlog  *provision.Backlog
}

// Run works until ctx ends and returns nil after a graceful stop.
func (a *App) Run(ctx context.Context) (err error) {
	health := provision.NewHealth(a.Log)
	box, err := a.identityOrNew()
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Config{URL: a.Config.Database.URL, MaxConns: a.Config.Database.MaxConns.V})
	if err != nil {
		return err
	}
	defer db.Close()
	metrics := newMetrics(db, a.Version)
	admin, err := a.serveAdmin(health, metrics)
	if err != nil {
		return err
	}
	defer admin.close()
	tokens, endTokens, err := a.tokens(health, metrics, db, box)
	if err != nil {
		return err
	}
	defer endTokens()
	standing := &standing{db: db, health: health}
	cloud, err := dds.New(dds.Config{Endpoint: a.Config.Cloud.Endpoint, Region: a.Config.Cloud.Region, Tokens: standingTokens{tokens, standing}, HTTP: a.http()})
	if err != nil {
		return err
	}
	defer cloud.Close()

	conn, err := a.start(ctx, health)
	if err != nil {
		return a.unlessStopped(ctx, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	copies := queue.NewRejected(conn.JetStream(), queue.RejectedConfig{Log: a.Log})
	defer copies.Close()
	metrics.watchDropped(copies.Dropped)
	watching, stopWatching := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { watchDatabase(watching, db, health) })
	defer watch.Wait()
	defer stopWatching()
	p := parts{store: db, health: health, metrics: metrics, sealer: box, tokens: tokens, cloud: cloud, conn: conn, copies: copies,
		standing: standing, budget: a.budget(db, cloud, health, metrics)}
	p.backlog = &provision.Backlog{Store: db, Limit: a.Config.Pace.IntakeLimit.V, Log: a.Log}
	metrics.watchBacklog(p.backlog.Stopped)
	for ctx.Err() == nil { // again whenever it may act again, after it might not
		if err := a.act(ctx, p, &admin.ready); err != nil {
			return a.unlessStopped(ctx, err)
		}
	}
	a.Log.Info("stopped", "worker", a.Config.Process.WorkerName)
	return nil
}

// act waits until the database may act, and works until it must not any more or
// ctx ends.
func (a *App) act(ctx context.Context, p parts, ready *atomic.Bool) error {
	id, err := p.standing.await(ctx, p.conn)
	if err != nil {
		return err
	}
	p.health.Report(provision.PartWrites, nil) // nothing waits to be written yet
	layout := a.layout(id, p.sealer.Recipients())
	setUp := func(ctx context.Context) error { return a.streams(ctx, p.conn, layout) }
	err = keepTrying(ctx, p.health, queue.PartStreams, func() error { return setUp(ctx) })
	if errors.As(err, new(*queue.ForeignError)) {
		return nil // they changed hands just now, which is to be judged
	}
	if err != nil {
		return err
	}
	guarding := queue.GuardConfig{Report: p.health.Report, Log: a.Log}
	if a.Config.Process.Setup == "auto" {
		guarding.Mend = setUp
	}
	guard := queue.NewGuard(p.conn.JetStream(), layout, guarding)
	defer guard.Close()
	inbox := queue.NewInbox(p.conn.JetStream(), queue.InboxConfig{
		Prefetch: 2 * a.Config.Pace.IntakeBatch.V, Report: p.health.Report, Prepare: setUp})
	defer inbox.Close()
	p.tokens.Warm(a.Config.served().Projects...)
	worker := a.worker(p, inbox, id.Installation)
	ready.Store(true)
	a.Log.Info("working", "worker", a.Config.Process.WorkerName, "version", a.Version, "installation", id.Installation, "epoch", id.Epoch,
		"region", a.Config.Cloud.Region, "projects", a.Config.served().Projects)
	acting, end := p.standing.watch(ctx, id, func(ctx context.Context) (provision.Identity, error) { return judge(ctx, p.store, p.conn) })
	defer end()
	worker.Run(acting)
	return nil
}

// Migrate brings the database and the streams to what this version needs, unless the
// database must not act. The recipient that the streams publish is replaced by one of
// another identity only with replaceRecipient.
func (a *App) Migrate(ctx context.Context, replaceRecipient bool) (err error) {
	o, err := a.operate(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	id, err := judge(ctx, o.db, o.conn)
	if err != nil {
		return err
	}
	layout := o.layout(id)
	layout.ReplaceRecipient = replaceRecipient
	if err := queue.Setup(ctx, o.conn.JetStream(), layout); err != nil {
		return err
	}
	a.Log.Info("the streams are up to date", "installation", id.Installation, "epoch", id.Epoch, "recipient", layout.Recipients[0])
	return nil
}

// Keygen makes the identity that seals passwords and returns its recipient. It
// never replaces one: if there is one already, the error is os.ErrExist.
func (a *App) Keygen() (recipient string, err error) {
	path := a.Config.Process.IdentityFile
	made := seal.Generate(path)
	if made != nil && !errors.Is(made, os.ErrExist) {
		return "", named(path, made)
	}
	box, err := seal.Load(path)
	if err != nil {
		return "", named(path, err)
	}
	return box.Recipients()[0], named(path, made)
}

// start waits until the database fits and NATS is there.
func (a *App) start(ctx context.Context, health *provision.Health) (conn *queue.Conn, err error) {
	err = keepTrying(ctx, health, provision.PartDatabase, func() (err error) {
		if a.Config.Process.Setup == "auto" {
			_, err = store.Migrate(ctx, a.Config.Database.URL.Reveal(), migrations.Files)
		} else {
			err = store.Check(ctx, a.Config.Database.URL.Reveal(), migrations.Files)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = keepTrying(ctx, health, queue.PartConnection, func() (err error) {
		conn, err = queue.Connect(ctx, a.nats(health.Report))
		return err
	})
	return conn, err
}

func (a *App) streams(ctx context.Context, conn *queue.Conn, layout queue.Layout) error {
	if a.Config.Process.Setup == "auto" {
		return queue.Setup(ctx, conn.JetStream(), layout)
	}
	return queue.Check(ctx, conn.JetStream(), layout)
}

// keepTrying runs f until it works, ctx ends, or its error can only be mended by
// people: then a worker must not wait in silence, and health, which says that it
// is tried again, is not told.
func keepTrying(ctx context.Context, health *provision.Health, part string, f func() error) error {
	b := backoff.WithContext(backoff.NewExponentialBackOff(backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0)), ctx)
	return backoff.Retry(func() error {
		err := f()
		if errors.Is(err, store.ErrTooNew) || errors.Is(err, queue.ErrDiffers) {
			return backoff.Permanent(err)
		}
		health.Report(part, err)
		return err
	}, b)
}

func (a *App) unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		a.Log.Info("stopped before it had started")
		return nil
	}
	return err
}

func (a *App) nats(report func(string, error)) queue.Config {
	return queue.Config{Server: a.Config.NATS.Server,
		ConnectTimeout: 3 * time.Second, // then /readyz says so, and it is tried again
		Name:           "ddsworker " + a.Config.Process.WorkerName, Log: a.Log, Report: report}
}

func (a *App) layout(id provision.Identity, recipients []string) queue.Layout {
	return queue.Layout{Installation: id.Installation, Epoch: id.Epoch, Recipients: recipients, Replicas: a.Config.NATS.Replicas.V,
		EventsMaxAge: time.Duration(a.Config.NATS.EventsMaxAge.V)}
}

// identity loads the fleet's identity.
func (a *App) identity() (*seal.Box, error) {
	path := a.Config.Process.IdentityFile
	box, err := seal.Load(path)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w; give all workers the same file, which 'worker keygen' makes", err)
	}
	return box, named(path, err)
}

// identityOrNew also makes one where there is none yet, if this worker is to set
// things up.
func (a *App) identityOrNew() (*seal.Box, error) {
	box, err := a.identity()
	if !errors.Is(err, os.ErrNotExist) || a.Config.Process.Setup != "auto" {
		return box, err
	}
	path := a.Config.Process.IdentityFile
	if err := seal.Generate(path); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, named(path, err)
	}
	a.Log.Warn("made a new identity that opens passwords; give the same file to all workers", "file", path)
	return a.identity()
}

func named(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("SECRETS_IDENTITY_FILE (%s): %w", path, err)
}

// http says how the cloud is called.
func (a *App) http() dds.HTTP {
	return dds.HTTP{CallTimeout: time.Duration(a.Config.Pace.CallTimeout.V), AllowPlainHTTP: a.Config.Cloud.AllowHTTP.V,
		Roots:       a.Config.Cloud.Roots,
		Concurrency: a.Config.Pace.CreateConcurrency.V + 2*a.Config.Pace.LookConcurrency.V + len(a.Config.served().Projects)}
}

// tokens makes the tokens that the fleet shares. The function returned ends them.
func (a *App) tokens(health *provision.Health, m *metrics, db *store.Store, box *seal.Box) (*tokencache.Cache, func(), error) {
	c := a.Config.Cloud
	sealer, err := box.Tokens()
	if err != nil {
		return nil, nil, err
	}
	login, err := dds.NewLogin(dds.LoginConfig{AuthURL: c.AuthURL, Region: c.Region, Username: c.Username,
		Password: c.Password, Domain: c.DomainName, HTTP: a.http()})
	if err != nil {
		return nil, nil, err
	}
	credential := store.Credential{AuthURL: login.Endpoint(), Domain: c.DomainName, User: c.Username, Password: c.Password}
	tokens := tokencache.New(tokencache.Config{Login: measuredLogin{login, m}, Timeout: a.http().CallTimeout,
		Fleet:  db.Tokens(credential, a.Config.Process.WorkerName, sealer),
		Report: func(err error) { health.Report("login", err) }})
	return tokens, func() { tokens.Close(); login.Close() }, nil
}

// budget is this worker's share of what the fleet may call.
func (a *App) budget(db *store.Store, cloud *dds.Client, health *provision.Health, m *metrics) *provision.Budget {
	b := provision.NewBudget(db, provision.Limits{Account: a.Config.Pace.Rate.V, Project: a.Config.Pace.ProjectRate.V}, health, a.Log)
	b.Waited, b.Ready = m.waited, cloud.Ready
	m.watchCeilings(b.Ceilings)
	return b
}

// worker puts the loops together.
func (a *App) worker(p parts, inbox provision.Inbox, installation string) *provision.Worker {
	health, m, cloud := p.health, p.metrics, &measuredCloud{p.cloud, p.metrics}
	policy, served, pace := a.Config.policy(), a.Config.served(), a.Config.Pace
	name := a.Config.Process.WorkerName
	builds := provision.NewExperience(policy.UsualMin, policy.UsualMax)
	budget, others := p.budget, provision.Paced{Cloud: cloud, Budget: p.budget}
	return &provision.Worker{
		Intake: &provision.Intake{Inbox: inbox, Store: measuredIntake{p.store, m}, Copies: p.copies, Sealer: measuredSealer{p.sealer, m},
			Rules: a.Config.rules(), Served: served, RequireSealed: a.Config.Process.RequireSealed.V, Standardize: hujson.Standardize, Batch: pace.IntakeBatch.V,
			Backlog: p.backlog, Health: health, Log: a.Log},
		Budget: budget,
		Creator: &provision.Creator{Cloud: cloud, Budget: budget, Store: p.store, Sealer: p.sealer, Policy: policy, Builds: builds, Served: served,
			Worker: name, Installation: installation, Dialect: a.Config.rules().Dialect, Concurrency: pace.CreateConcurrency.V, Health: health, Log: a.Log},
		Reconciler: &provision.Reconciler{Cloud: others, Budget: budget, Store: p.store, Policy: policy, Served: served, Worker: name, Installation: installation,
			Dialect: a.Config.rules().Dialect, Concurrency: pace.LookConcurrency.V, Health: health, Log: a.Log},
		Poller: &provision.Poller{Jobs: others, Instances: others, Deleter: others, Budget: budget, Store: p.store, Policy: policy, Builds: builds, Served: served,
			Worker: name, Batch: pace.PollBatch.V, Concurrency: pace.LookConcurrency.V, Health: health, Log: a.Log},
		Auditor: &provision.Auditor{Cloud: others, Deleter: others, Store: p.store, Deletions: p.store, Served: served, Installation: installation,
			Interval: time.Duration(pace.AuditInterval.V), Quarantine: time.Duration(pace.Quarantine.V), Policy: provision.OrphanPolicy(pace.Orphans),
			CallTimeout: policy.CallTimeout, Window: policy.VisibilityWindow, Health: health, Log: a.Log},
		Relay: &provision.Relay{Store: p.store, Publisher: standingEvents{measuredEvents{queue.NewEvents(p.conn.JetStream()), m}, p.standing}, Batch: 1000,
			Timeout: 10 * time.Second, Rest: 100 * time.Millisecond, Health: health},
		Pruner: &provision.Pruner{Store: p.store, Keep: time.Duration(a.Config.Database.Retention.V), Interval: pruneInterval, Health: health, Log: a.Log},
		Waking: &provision.Waking{Others: p.store, Health: provision.NewHealth(a.Log)},
		Grace:  time.Duration(a.Config.Process.Grace.V),
	}
}
