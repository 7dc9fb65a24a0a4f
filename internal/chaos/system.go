package chaos

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/localenv"
)

// systemConfig says what a system is made of.
type systemConfig struct {
	Workers  int
	Cloud    ddsfake.Config
	Settings []string // of the workers, NAME=value
	Database []string // settings of Postgres
	NATSDisk bool     // give NATS a small disk of its own, if we may
}

// system is a whole installation. Its close ends everything.
type system struct {
	dir      string
	cloud    *cloud
	postgres *localenv.Postgres
	nats     *natsServer
	workers  []*worker
	program  string
	settings []string

	toCloud, toPostgres, toNATS *proxy // for the workers; we go directly
	db                          *pgxpool.Pool
	nc                          *nats.Conn
	js                          jetstream.JetStream
	closers                     []func() error
}

const workerRole = "ddsworker"

// startSystem starts everything, the workers last. On an error nothing is left.
func startSystem(ctx context.Context, cfg systemConfig) (_ *system, err error) {
	s := &system{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "chaos-"); err != nil {
		return nil, err
	}
	release, err := localenv.Guard(`rm -rf "$1"`, s.dir)
	if err != nil {
		return nil, err
	}
	s.onClose(func() error { return errors.Join(release(), os.RemoveAll(s.dir)) })
	if s.program, err = buildWorker(ctx, s.dir); err != nil {
		return nil, err
	}
	if err := s.startParts(ctx, cfg); err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	s.settings = append(s.basics(), cfg.Settings...)
	for _, command := range []string{"keygen", "migrate"} {
		if err := s.run(ctx, command); err != nil {
			return nil, err
		}
	}
	for n := range cfg.Workers {
		if err := s.addWorker(fmt.Sprintf("worker-%d", n)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *system) onClose(f func() error) { s.closers = append(s.closers, f) }

// close ends everything, the last that was started first.
func (s *system) close() error {
	var errs []error
	for _, f := range slices.Backward(s.closers) {
		errs = append(errs, f())
	}
	s.closers = nil
	return errors.Join(errs...)
}

func (s *system) startParts(ctx context.Context, cfg systemConfig) (err error) {
	if s.cloud, err = startCloud(cfg.Cloud); err != nil {
		return err
	}
	s.onClose(s.cloud.close)
	if err := os.WriteFile(s.authority(), s.cloud.certificate, 0o600); err != nil {
		return err
	}
	if s.postgres, err = localenv.StartPostgres(ctx, localenv.Options{Settings: cfg.Database}); err != nil {
		return err
	}
	s.onClose(s.postgres.Stop)
	if err := s.startNATS(cfg.NATSDisk); err != nil {
		return err
	}
	for _, p := range []struct {
		to       **proxy
		name     string
		upstream string
	}{{&s.toCloud, "cloud", s.cloud.addr}, {&s.toPostgres, "postgres", fmt.Sprintf("127.0.0.1:%d", s.postgres.Port())}, {&s.toNATS, "nats", s.nats.address()}} {
		if *p.to, err = newProxy(p.name, p.upstream); err != nil {
			return err
		}
		s.onClose(func() error { (*p.to).cut(); return nil })
	}
	return nil
}

func (s *system) startNATS(onDisk bool) (err error) {
	key := rand.Text()
	if onDisk && os.Geteuid() == 0 {
		var release func() error
		if s.nats, release, err = startNATSOnDisk(s.dir, key); err == nil {
			s.onClose(release)
		}
	} else {
		s.nats, err = startNATS(s.dir, key)
	}
	if err == nil {
		s.onClose(func() error { return s.nats.kill() })
	}
	return err
}

// connect makes the role and the database of the workers, and our own
// connections, which do not go through the proxies.
func (s *system) connect(ctx context.Context) error {
	super, err := pgx.Connect(ctx, s.postgres.URL())
	if err != nil {
		return err
	}
	defer super.Close(ctx)
	for _, sql := range []string{"create role " + workerRole + " login password 'chaos'", "create database dds owner " + workerRole} {
		if _, err := super.Exec(ctx, sql); err != nil {
			return err
		}
	}
	if err := s.openDB(ctx); err != nil {
		return err
	}
	s.onClose(func() error { s.db.Close(); return nil })
	s.nc, err = nats.Connect("nats://"+s.nats.address(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ReconnectJitter(0, 0), nats.RetryOnFailedConnect(true))
	if err != nil {
		return err
	}
	s.onClose(func() error { s.nc.Close(); return nil })
	s.js, err = jetstream.New(s.nc, jetstream.WithDefaultTimeout(2*time.Second))
	return err
}

// openDB opens our own connections, as the superuser.
func (s *system) openDB(ctx context.Context) error {
	cfg, err := pgxpool.ParseConfig(s.databaseURL(s.postgres.URL()))
	if err != nil {
		return err
	}
	cfg.MaxConns = 3
	cfg.ConnConfig.ConnectTimeout = 2 * time.Second
	cfg.PingTimeout = time.Second
	cfg.ConnConfig.RuntimeParams["default_transaction_read_only"] = "off"
	s.db, err = pgxpool.NewWithConfig(ctx, cfg)
	return err
}

func (s *system) databaseURL(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		panic(err) // it is made by localenv
	}
	u.Path = "/dds"
	return u.String()
}

// authority is the file with what workers trust of the cloud.
func (s *system) authority() string { return filepath.Join(s.dir, "cloud.pem") }

// basics are the settings of every worker.
func (s *system) basics() []string {
	database := url.URL{Scheme: "postgres", User: url.UserPassword(workerRole, "chaos"), Host: s.toPostgres.address(),
		Path: "/dds", RawQuery: "sslmode=disable"}
	return []string{"HOME=" + s.dir, "PATH=" + os.Getenv("PATH"), "LOG_FORMAT=json", "ADMIN_ADDR=127.0.0.1:0",
		"NATS_URL=nats://" + s.toNATS.address(), "DATABASE_URL=" + database.String(),
		"DDS_ENDPOINT=https://" + s.toCloud.address(), "OS_AUTH_URL=https://" + s.toCloud.address(), "DDS_CA_FILE=" + s.authority(),
		"OS_USERNAME=" + ddsfake.DefaultUser, "OS_PASSWORD=" + ddsfake.DefaultPassword, "OS_DOMAIN_NAME=" + ddsfake.DefaultDomain,
		"OS_PROJECT_ID=" + ddsfake.DefaultProjectID, "OS_REGION_NAME=aaa", "SECRETS_IDENTITY_FILE=" + filepath.Join(s.dir, "identity.txt")}
}

// run runs a command of the worker to its end.
func (s *system) run(ctx context.Context, command string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.program, command)
	cmd.Env = s.settings
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("worker %s: %w\n%s", command, err, out)
	}
	return nil
}

func (s *system) addWorker(name string) error {
	w := &worker{name: name, program: s.program, env: append(slices.Clone(s.settings), "WORKER_NAME="+name),
		log: filepath.Join(s.dir, name+".log")}
	if err := w.start(); err != nil {
		return err
	}
	s.workers = append(s.workers, w)
	s.onClose(func() error { return w.kill() })
	return nil
}

// waitReady waits until every worker says that it is ready.
func (s *system) waitReady(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, w := range s.workers {
		for {
			if address := w.admin(); address != "" {
				if ready, problems, err := readyz(ctx, address); err == nil && ready {
					break
				} else if ctx.Err() != nil {
					return fmt.Errorf("%s is not ready after %v: %v (%v)", w.name, limit, problems, err)
				}
			}
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return fmt.Errorf("%s is not ready after %v; its log ends with:\n%s", w.name, limit, tail(w.log, 10))
			}
		}
	}
	return nil
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
