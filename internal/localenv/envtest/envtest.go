// Package envtest gives tests a Postgres and a NATS server.
//
// Each kind of server comes from the first of these that there is:
//
//  1. the server that TEST_DATABASE_URL or TEST_NATS_URL names;
//  2. a container, if Docker answers and has the image or can pull it
//     (TEST_POSTGRES_IMAGE, default postgres:17-alpine; TEST_NATS_IMAGE,
//     default nats:2.15-alpine);
//  3. this machine's own Postgres, installed if need be, and a NATS server
//     inside the test's process.
//
// ENVTEST=container or ENVTEST=local takes the second or the third and nothing
// else. What was taken, and why, is printed once for each package of tests.
// Nothing is ever skipped: a test that can have no server fails.
//
// A package of tests has one [Env]; its servers start when a test first asks
// and are gone when [Env.Main] returns, or when the process dies.
//
//	var env = envtest.Env{Migrate: migrate}
//
//	func TestMain(m *testing.M) { os.Exit(env.Main(m)) }
//
//	func TestSomething(t *testing.T) {
//		pool := connect(t, env.Postgres(t))
//		...
//
// Servers that TEST_DATABASE_URL and TEST_NATS_URL name must be for tests only:
// every stream of that NATS account is deleted. Databases made here are called
// envtest_ and something; a killed run may leave some of them behind there.
package envtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"ddsworker/internal/localenv"
)

const (
	// startLimit bounds the start of a server, an installation included.
	startLimit = 7 * time.Minute
	// cleanupLimit bounds what is undone after a test.
	cleanupLimit = time.Minute
)

// Env is the servers of one package of tests. Its methods may be called by
// tests that run in parallel.
type Env struct {
	// Migrate prepares the database at url, once; each test that calls Postgres
	// gets a copy. It must have closed its connections when it returns. Nil
	// leaves the databases empty.
	Migrate func(ctx context.Context, url string) error

	running  bool
	postgres service
	nats     service
	template template

	mu   sync.Mutex
	held map[testing.TB]string // NATS servers that running tests hold
}

// service is a server that is started once, or was found impossible to start.
type service struct {
	once sync.Once
	from source
	url  string // empty for NATS from local: there each test has its own
	stop func() error
	err  error
}

// Main runs the tests, stops the servers they used and returns the exit code.
// Call it from TestMain.
func (e *Env) Main(m *testing.M) (code int) {
	e.running = true
	defer func() {
		if err := e.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "envtest:", err)
			code = max(code, 1)
		}
	}()
	return m.Run()
}

// stop ends what was started; the template goes first, it needs the server.
func (e *Env) stop() error {
	errs := []error{e.dropTemplate()}
	for _, s := range []*service{&e.postgres, &e.nats} {
		if s.stop != nil {
			errs = append(errs, s.stop())
		}
	}
	return errors.Join(errs...)
}

// use starts the server at the first call and fails t if there is none.
func (e *Env) use(t testing.TB, s *service, k kind) {
	t.Helper()
	if !e.running {
		t.Fatal("envtest: nobody would stop the servers; call Env.Main from TestMain")
	}
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		s.err = s.start(ctx, k)
	})
	if s.err != nil {
		t.Fatalf("envtest: no %s for the tests: %v", k.name, s.err)
	}
}

func (s *service) start(ctx context.Context, k kind) error {
	given := os.Getenv(k.urlVar)
	image := k.image()
	from, why, err := choose(os.Getenv("ENVTEST"), k.urlVar, given, func(forced bool) error {
		return probeDocker(ctx, image, forced)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "envtest: %s from %s: %s\n", k.name, from, why)
	s.from = from
	switch from {
	case fromURL:
		s.url = given
	case fromContainer:
		s.url, s.stop, err = k.container(ctx, image)
	case fromLocal:
		s.url, s.stop, err = k.local(ctx)
	}
	return err
}

// kind is what the two kinds of servers differ in.
type kind struct {
	name                   string
	urlVar                 string
	imageVar, defaultImage string
	container              func(ctx context.Context, image string) (url string, stop func() error, err error)
	local                  func(ctx context.Context) (url string, stop func() error, err error)
}

func (k kind) image() string {
	if image := os.Getenv(k.imageVar); image != "" {
		return image
	}
	return k.defaultImage
}

func postgresKind() kind {
	return kind{
		name: "Postgres", urlVar: "TEST_DATABASE_URL",
		imageVar: "TEST_POSTGRES_IMAGE", defaultImage: "postgres:17-alpine",
		container: postgresContainer,
		local: func(ctx context.Context) (string, func() error, error) {
			p, err := localenv.StartPostgres(ctx, localenv.Options{Fast: true, Log: os.Stderr})
			if err != nil {
				return "", nil, err
			}
			return p.URL(), p.Stop, nil
		},
	}
}

func natsKind() kind {
	return kind{
		name: "NATS", urlVar: "TEST_NATS_URL",
		imageVar: "TEST_NATS_IMAGE", defaultImage: "nats:2.15-alpine",
		container: natsContainer,
		// One for each test, so there is nothing to start yet.
		local: func(context.Context) (string, func() error, error) { return "", nil, nil },
	}
}
