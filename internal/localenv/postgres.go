package localenv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	postgresUser = "postgres"
	// startLimit bounds initdb and the start of the server, each.
	startLimit = time.Minute
	// oldestServer is the oldest version our SQL is written for.
	oldestServer = 15_00_00
)

// Postgres is a temporary Postgres server.
type Postgres struct {
	dir, password string
	port          int
	bin           string
	cred          *syscall.Credential
	opts          Options
	release       func() error // of the guard; nil while there is none

	process *os.Process
	exited  chan struct{} // closed once the process has been waited for

	stop    sync.Once
	stopErr error
}

// StartPostgres makes a new, empty Postgres server from the binaries on this
// machine and returns once it answers queries. Root cannot run Postgres, so for
// root it runs as the user postgres or nobody. If no Postgres is installed, it
// is installed where that can be done (root on Debian or Ubuntu). ctx bounds the
// start alone; Stop ends the server.
func StartPostgres(ctx context.Context, opts Options) (*Postgres, error) {
	bin, err := findPostgres(ctx, opts)
	if err != nil {
		return nil, err
	}
	cred, err := serverCredential()
	if err != nil {
		return nil, err
	}
	p := &Postgres{password: rand.Text(), bin: bin, cred: cred, opts: opts}
	if p.dir, err = os.MkdirTemp("", "localenv-postgres-"); err != nil {
		return nil, fmt.Errorf("make a directory for Postgres: %w", err)
	}
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.dir))
	}
	return p, nil
}

// URL is the connection string of the superuser, with the password in it, and
// of the database postgres.
func (p *Postgres) URL() string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(postgresUser, p.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Stop breaks the open connections off, waits until the server is gone and
// removes its directory. It may be called more than once.
func (p *Postgres) Stop() error {
	p.stop.Do(func() {
		err := p.halt()
		p.stopErr = errors.Join(err, os.RemoveAll(p.dir))
	})
	return p.stopErr
}

func (p *Postgres) start(ctx context.Context) error {
	if err := p.initdb(ctx, p.bin, p.cred); err != nil {
		return err
	}
	// A free port may be taken by somebody else before Postgres listens on it.
	for attempt := 1; ; attempt++ {
		var err error
		if p.port, err = claimPort(p.opts.Port); err != nil {
			return err
		}
		err = p.serve(ctx)
		if err == nil || p.opts.Port != 0 || attempt == 3 || !errors.Is(err, errExited) {
			return err
		}
	}
}

func (p *Postgres) initdb(ctx context.Context, bin string, cred *syscall.Credential) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	pwfile := filepath.Join(p.dir, "password")
	if err := os.WriteFile(pwfile, []byte(p.password), 0o600); err != nil {
		return fmt.Errorf("prepare initdb: %w", err)
	}
	if cred != nil {
		for _, path := range []string{p.dir, pwfile} {
			if err := os.Chown(path, int(cred.Uid), int(cred.Gid)); err != nil {
				return fmt.Errorf("prepare initdb: %w", err)
			}
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--no-sync", "--pgdata="+p.data(),
		"--username="+postgresUser, "--pwfile="+pwfile, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C")
	p.prepare(cmd, cred)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb in %s failed: %w\n%s", p.dir, err, out)
	}
	return os.Remove(pwfile)
}

var errExited = errors.New("Postgres ended before it was ready")

// serve starts the server on p.port and waits until it can be used.
func (p *Postgres) serve(ctx context.Context) error {
	// To a file, not to our own output: "go test" waits for whoever holds that.
	logFile, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return fmt.Errorf("start Postgres: %w", err)
	}
	defer logFile.Close()
	args := []string{"-D", p.data(), "-h", "127.0.0.1", "-p", strconv.Itoa(p.port),
		"-k", "", // no socket: the path of a temporary directory may be too long for one
		"-c", "max_connections=200", "-c", "timezone=UTC"}
	if p.opts.Fast {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	for _, setting := range p.opts.Settings {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command(filepath.Join(p.bin, "postgres"), args...)
	p.prepare(cmd, p.cred)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	dieWithParent(cmd.SysProcAttr)
	if err := p.launch(cmd); err != nil {
		return fmt.Errorf("start Postgres: %w", err)
	}
	if p.release, err = Guard(afterDeath, strconv.Itoa(p.process.Pid), p.dir); err != nil {
		return errors.Join(err, p.halt())
	}
	if err := p.ready(ctx); err != nil {
		tail, _ := os.ReadFile(logFile.Name())
		return errors.Join(fmt.Errorf("start Postgres on port %d: %w\n%s", p.port, err, tail), p.halt())
	}
	return nil
}

// afterDeath stops the server $1 and removes its directory $2 when we no longer can.
// The wait is bounded, for a process that nobody reaps looks alive forever.
const afterDeath = `
kill -QUIT "$1" 2>/dev/null
i=0
while kill -0 "$1" 2>/dev/null && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done
kill -KILL "$1" 2>/dev/null
rm -rf "$2"`

// launch starts cmd and the goroutine that waits for it.
func (p *Postgres) launch(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	exited := make(chan struct{})
	go func() {
		// The kernel takes the end of this thread for the end of the parent.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // How it ended is in the server's log; that it ended is all we ask.
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.process, p.exited = cmd.Process, exited
	return nil
}

// ready waits until the server takes a query.
func (p *Postgres) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		version, err := p.version(ctx)
		if err == nil && version < oldestServer {
			return fmt.Errorf("it is version %d, but %d or newer is needed; install that one", version/1_00_00, oldestServer/1_00_00)
		}
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return errExited
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w (last: %w)", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

func (p *Postgres) version(ctx context.Context) (int, error) {
	conn, err := pgx.Connect(ctx, p.URL())
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	var version int
	err = conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version)
	return version, err
}

// halt ends the process, with more force the longer it takes, and the guard.
func (p *Postgres) halt() error {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, os.Kill} {
		if err := p.process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop Postgres: %w", err)
		}
		select {
		case <-p.exited:
			return p.unguard()
		case <-time.After(10 * time.Second):
		}
	}
	return fmt.Errorf("stop Postgres: process %d does not end", p.process.Pid)
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

func (p *Postgres) prepare(cmd *exec.Cmd, cred *syscall.Credential) {
	cmd.Dir = p.dir // The other user may not enter ours.
	// Nothing of the caller's environment: PG* and LC_* would change the server.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	// Its own session, so that Ctrl-C stops us, and we then stop it in good order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: cred}
}
