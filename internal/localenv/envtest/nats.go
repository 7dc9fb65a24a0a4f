package envtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/localenv"
)

// NATS returns the URL of a NATS server with an empty JetStream, for t alone
// until it ends. A second call in the same test returns the same server.
//
// A server inside the process is the test's own. Any other is shared, so a test
// waits there until no other test, of whatever package, uses it, and all streams
// are deleted before and after it: tests with the fixed names of streams do not
// meet even with t.Parallel. A subtest must not ask for a server that its parent
// holds; pass it the URL.
func (e *Env) NATS(t testing.TB) string {
	t.Helper()
	e.use(t, &e.nats, natsKind())
	if url, ok := e.holds(t); ok {
		return url
	}
	var url string
	if e.nats.from == fromLocal {
		s, err := localenv.StartNATS(localenv.Options{Fast: true})
		if err != nil {
			t.Fatalf("envtest: %v", err)
		}
		t.Cleanup(func() {
			if err := s.Stop(); err != nil {
				t.Errorf("envtest: %v", err)
			}
		})
		url = s.ClientURL()
	} else {
		url = e.nats.url
		borrow(t, url)
	}
	e.hold(t, url)
	return url
}

// borrow takes the shared server for t.
func borrow(t testing.TB, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	unlock, err := localenv.Lock(ctx, fmt.Sprintf("nats-%x", sha256.Sum256([]byte(url)))[:21])
	if err != nil {
		t.Fatalf("envtest: wait for the shared NATS server (does a parent of this subtest hold it?): %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
		defer cancel()
		if err := errors.Join(deleteStreams(ctx, url), unlock()); err != nil {
			t.Errorf("envtest: give the shared NATS server back: %v", err)
		}
	})
	if err := deleteStreams(ctx, url); err != nil {
		t.Fatalf("envtest: empty the shared NATS server: %v", err)
	}
}

func deleteStreams(ctx context.Context, url string) error {
	conn, err := nats.Connect(url)
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		if err := js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("delete stream %s: %w", name, err)
		}
	}
	return names.Err()
}

func (e *Env) holds(t testing.TB) (string, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	url, ok := e.held[t]
	return url, ok
}

func (e *Env) hold(t testing.TB, url string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.held == nil {
		e.held = map[testing.TB]string{}
	}
	e.held[t] = url
	t.Cleanup(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.held, t)
	})
}
