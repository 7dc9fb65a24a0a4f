package queue

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"ddsworker/internal/localenv/envtest"
	"ddsworker/internal/provision"
)

var env envtest.Env

func TestMain(m *testing.M) {
	code := env.Main(m)
	if err := goleak.Find(); code == 0 && err != nil && leaks(err) {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// leaks tells goroutines of this package and of the client from those of the
// tests' servers.
func leaks(err error) bool {
	return strings.Contains(err.Error(), "ddsworker/internal/queue.") || strings.Contains(err.Error(), "nats-io/nats.go@")
}

// limit bounds every wait of a test.
const limit = 20 * time.Second

// testLayout is small, for machines with little disk.
func testLayout() Layout {
	return Layout{
		Installation:     "here",
		RequestsMaxBytes: 8 << 20,
		RejectedMaxBytes: 8 << 20,
		EventsMaxBytes:   8 << 20,
	}
}

// connect connects to a server without streams, or to the one at url.
func connect(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	if url == "" {
		url = env.NATS(t)
	}
	conn, err := Connect(t.Context(), Config{Server: at(url), Name: t.Name(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn.JetStream()
}

// at is a server without anything else to say about it.
func at(url string) Server { return Server{URL: provision.NewSecret(url)} }

// ready connects and makes the streams.
func ready(t *testing.T) jetstream.JetStream {
	t.Helper()
	js := connect(t, "")
	if err := Setup(t.Context(), js, testLayout()); err != nil {
		t.Fatal(err)
	}
	return js
}

// deadline is a context for one wait.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until the server's state is as it should be.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for over := time.After(limit); ; {
		if ok() {
			return
		}
		select {
		case <-over:
			t.Fatalf("it did not come to be within %v: %s", limit, what)
		case <-tick.C:
		}
	}
}

// startServer starts a server that a test may stop and start again; port 0 picks
// one.
func startServer(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	return startWith(t, server.Options{Port: port, JetStream: true, StoreDir: dir})
}

// startWith starts a server on this machine with options of its own.
func startWith(t *testing.T, options server.Options) *server.Server {
	t.Helper()
	options.Host, options.NoLog, options.NoSigs = "127.0.0.1", true, true
	if options.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { stopServer(s) })
	if !s.ReadyForConnections(limit) {
		t.Fatal("the server does not start")
	}
	return s
}

func stopServer(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// reports collects what is reported about parts.
type reports struct{ news chan error }

func newReports() *reports { return &reports{news: make(chan error, 100)} }

func (r *reports) report(_ string, err error) { r.news <- err }

// await waits for the next report.
func (r *reports) await(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.news:
		return err
	case <-time.After(limit):
		t.Fatal("nothing was reported")
		return nil
	}
}

// publish publishes a plain request with the given id, which may be empty.
func publish(t *testing.T, js jetstream.JetStream, id string) uint64 {
	t.Helper()
	sequence, err := NewPublisher(js, 0).Publish(deadline(t), Request{ID: id, Body: []byte(`{"name":"a"}`)})
	if err != nil {
		t.Fatal(err)
	}
	return sequence
}

// inbox starts an Inbox that ends with the test.
func inbox(t *testing.T, js jetstream.JetStream, cfg InboxConfig) *Inbox {
	t.Helper()
	i := NewInbox(js, cfg)
	t.Cleanup(i.Close)
	return i
}

// receive receives exactly n messages and settles none.
func receive(t *testing.T, i *Inbox, n int) []provision.Message {
	t.Helper()
	var got []provision.Message
	for len(got) < n {
		batch, err := i.Receive(deadline(t), n-len(got))
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", len(got), n, err)
		}
		got = append(got, batch...)
	}
	return got
}

// waiting is how many messages DDS_REQUESTS has.
func waiting(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	stream, err := js.Stream(deadline(t), RequestsStream)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}
