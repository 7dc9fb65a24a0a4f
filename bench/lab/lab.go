package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/localenv"
)

// startLimit bounds the start of each server.
const startLimit = time.Minute

// Config says how a lab is set up.
type Config struct {
	// Projects of the cloud: each contestant has one of its own.
	Projects []string
	// Cloud are further flags of fakecloud.
	Cloud []string
	// Statements loads pg_stat_statements, which costs a little.
	Statements bool
	// Logs, if it is set, is a directory that the logs are kept in.
	Logs string
	Log  io.Writer // progress
}

// Settings of Postgres: what anybody sets on a server of some size, the same for
// all. fsync, full_page_writes and synchronous_commit stay on.
func settings(statements bool) []string {
	s := []string{"shared_buffers=1GB", "max_wal_size=16GB", "checkpoint_timeout=30min"}
	if statements {
		s = append(s, "shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=all")
	}
	return s
}

// Lab is everything that contestants share.
type Lab struct {
	CloudURL, NATSURL string
	Worker            string // the path of the worker's program

	self     string // the path of this program
	dir      string
	postgres *localenv.Postgres
	pgPid    int
	nats     *Process
	cloud    *Process
	stops    []func() error
}

// Open builds the programs and starts the servers.
func Open(ctx context.Context, c Config) (*Lab, error) {
	l := &Lab{}
	if err := l.open(ctx, c); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) open(ctx context.Context, c Config) (err error) {
	if l.self, err = os.Executable(); err != nil {
		return err
	}
	if l.dir, err = os.MkdirTemp("", "ddsworker-bench-"); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	release, err := localenv.Guard(`rm -rf "$1"`, l.dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(l.dir))
	}
	l.onClose(func() error { return errors.Join(keepLogs(l.dir, c.Logs), release(), os.RemoveAll(l.dir)) })
	if err := l.build(ctx); err != nil {
		return err
	}
	l.postgres, err = localenv.StartPostgres(ctx, localenv.Options{Settings: settings(c.Statements), Log: c.Log})
	if err != nil {
		return err
	}
	l.onClose(l.postgres.Stop)
	if err := l.findPostgres(ctx); err != nil {
		return err
	}
	if err := l.startNATS(ctx); err != nil {
		return err
	}
	return l.startCloud(ctx, c)
}

func (l *Lab) onClose(f func() error) { l.stops = append(l.stops, f) }

// Close ends everything in the reverse order of its start.
func (l *Lab) Close() error {
	var errs []error
	for _, stop := range slices.Backward(l.stops) {
		errs = append(errs, stop())
	}
	l.stops = nil
	return errors.Join(errs...)
}

// Dir is a directory that goes with the lab.
func (l *Lab) Dir() string { return l.dir }

// build makes the programs with the product's own go.mod, so that they are what
// its users have.
func (l *Lab) build(ctx context.Context) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "ddsworker").Output()
	if err != nil {
		return fmt.Errorf("find the product: run this in its directory bench: %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", l.dir+string(filepath.Separator), "./cmd/worker", "./cmd/fakecloud")
	build.Dir = strings.TrimSpace(string(root))
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the worker and the cloud: %w\n%s", err, out)
	}
	l.Worker = filepath.Join(l.dir, "worker")
	return nil
}

func (l *Lab) findPostgres(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, l.postgres.URL())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var backend int
	if err := conn.QueryRow(ctx, `select pg_backend_pid()`).Scan(&backend); err != nil {
		return err
	}
	l.pgPid = parentOf(backend)
	return nil
}

func (l *Lab) startNATS(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	if l.nats, err = l.Role("nats", nil, "nats", "--port="+strconv.Itoa(port)); err != nil {
		return err
	}
	l.onClose(l.nats.Stop)
	l.NATSURL = "nats://" + loopback(port)
	return until(ctx, l.nats, func() error {
		nc, err := nats.Connect(l.NATSURL)
		if err != nil {
			return err
		}
		defer nc.Close()
		js, err := nc.JetStream()
		if err == nil {
			_, err = js.AccountInfo()
		}
		return err
	})
}

func (l *Lab) startCloud(ctx context.Context, c Config) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	projects := make([]string, len(c.Projects))
	for n, id := range c.Projects {
		projects[n] = id + "=" + ddsfake.DefaultProjectName
	}
	args := append([]string{"--addr=" + loopback(port), "--log-level=warn", "--projects=" + strings.Join(projects, ",")}, c.Cloud...)
	if l.cloud, err = l.Start("cloud", nil, filepath.Join(l.dir, "fakecloud"), args...); err != nil {
		return err
	}
	l.onClose(l.cloud.Stop)
	l.CloudURL = "http://" + loopback(port)
	return until(ctx, l.cloud, func() error { return l.askCloud(ctx, "/__health", &struct{}{}) })
}

// Role runs this program in one of its hidden roles.
func (l *Lab) Role(name string, env []string, args ...string) (*Process, error) {
	return l.Start(name, env, l.self, append([]string{"role"}, args...)...)
}

// Start runs a program; its log has the name given.
func (l *Lab) Start(name string, env []string, path string, args ...string) (*Process, error) {
	return start(l.dir, name, env, path, args...)
}

// until waits until the server that p is answers.
func until(ctx context.Context, p *Process, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.Ended():
			return fmt.Errorf("%s did not start:\n%s", p.name, p.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", p.name, err)
		}
	}
}

// Database makes an empty database and returns its URL.
func (l *Lab) Database(ctx context.Context, name string) (string, error) {
	if err := l.Exec(ctx, "", "create database "+pgx.Identifier{name}.Sanitize()); err != nil {
		return "", err
	}
	return l.DatabaseURL(name), nil
}

// DatabaseURL is the URL of a database; "" is the server's own.
func (l *Lab) DatabaseURL(name string) string {
	u, err := url.Parse(l.postgres.URL())
	if err != nil {
		panic(err) // localenv made it
	}
	if name != "" {
		u.Path = "/" + name
	}
	return u.String()
}

// Exec runs statements, each in a transaction of its own, in a database.
func (l *Lab) Exec(ctx context.Context, database string, statements ...string) error {
	conn, err := pgx.Connect(ctx, l.DatabaseURL(database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%.60s…: %w", s, err)
		}
	}
	return nil
}

// FreeAddr is an address on the loopback that nobody listens on.
func FreeAddr() (string, error) {
	port, err := freePort()
	return loopback(port), err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func keepLogs(dir, to string) error {
	if to == "" {
		return nil
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err
	}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(log)), text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var client = &http.Client{Timeout: time.Minute}
