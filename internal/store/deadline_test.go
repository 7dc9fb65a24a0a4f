package store_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
)

// A freezer is a proxy before the database whose connections can go silent
// without being closed, as behind a firewall that forgot them.
type freezer struct {
	address string
	mu      sync.RWMutex // held for writing while frozen
}

func newFreezer(t *testing.T, target string) *freezer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &freezer{address: l.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				t.Error(err)
				_ = client.Close()
				continue
			}
			context.AfterFunc(ctx, func() { _, _ = client.Close(), server.Close() })
			running.Go(func() { f.copy(server, client) })
			running.Go(func() { f.copy(client, server) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		cancel()
		running.Wait()
	})
	return f
}

func (f *freezer) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		f.mu.RLock()
		_, failed := to.Write(buffer[:n])
		f.mu.RUnlock()
		if errors.Join(err, failed) != nil {
			return
		}
	}
}

// What the connection string says of a connection is its own.
func TestHowLongAConnectionMayTake(t *testing.T) {
	for query, want := range map[string]time.Duration{"": 2 * time.Second, "?connect_timeout=7": 7 * time.Second, "?connect_timeout=0": 2 * time.Second} {
		s, err := store.Open(t.Context(), store.Config{URL: provision.NewSecret("postgres://u@192.0.2.1/d" + query)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if got := s.ConnectTimeout(); got != want {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
}

func TestNoCallWaitsForEverOnASilentConnection(t *testing.T) {
	u, err := url.Parse(env.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	f := newFreezer(t, u.Host)
	u.Host = f.address
	s, err := store.Open(t.Context(), store.Config{URL: provision.NewSecret(u.String()), CallTimeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for name, call := range map[string]func(context.Context) error{
		"rows": func(ctx context.Context) error {
			_, err := s.ClaimCreates(ctx, provision.ClaimQuery{Served: served, Worker: "w", Limit: 1, Lease: time.Second})
			return err
		},
		"one row": func(ctx context.Context) error {
			_, err := s.KnownInstances(ctx, []string{"i"})
			return err
		},
		"a statement": func(ctx context.Context) error { return s.NoteMarksSeen(ctx, project) },
		"a batch": func(ctx context.Context) error {
			_, err := s.Accept(ctx, []provision.NewRequest{newRequest("a", 1)}, provision.ClaimQuery{})
			return err
		},
		"the lead": func(ctx context.Context) error {
			release, ok, err := s.Lead(ctx)
			if ok {
				release()
			}
			return err
		},
		"a ping": s.Ping,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			for err := call(ctx); err != nil; err = call(ctx) { // it works, and does so again after a silence
				if ctx.Err() != nil {
					t.Fatal(err)
				}
			}
			f.mu.Lock()
			err := call(ctx)
			f.mu.Unlock()
			switch {
			case ctx.Err() != nil:
				t.Fatalf("it waited for its caller's deadline: %v", err)
			case err == nil || !strings.Contains(err.Error(), "did not answer within 500ms"):
				t.Errorf("it says %v", err)
			case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
				t.Errorf("%v passes for an end of its caller's context", err)
			}
		})
	}
	t.Run("the caller's own end", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Ping(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("it says %v", err)
		}
	})
}
