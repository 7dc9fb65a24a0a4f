package queue

import (
	"context"
	"fmt"
	"iter"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
)

// watched runs a Watch and sends what it yields: event ids, or "error".
func watched(t *testing.T, js jetstream.JetStream, requests ...string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	seen := make(chan string, 100)
	go func() {
		defer close(seen)
		for e, err := range Watch(ctx, js, requests...) {
			if err != nil {
				seen <- "error: " + err.Error()
				continue
			}
			seen <- fmt.Sprint(e.ID)
		}
	}()
	t.Cleanup(func() {
		cancel()
		for over := time.After(limit); ; {
			select {
			case _, open := <-seen:
				if !open {
					return
				}
			case <-over:
				t.Error("Watch does not end with its context")
				return
			}
		}
	})
	return seen
}

// expect waits for the next thing that was seen.
func expect(t *testing.T, seen <-chan string, want string) {
	t.Helper()
	select {
	case got := <-seen:
		if !strings.HasPrefix(got, want) {
			t.Fatalf("saw %s, want %s", got, want)
		}
	case <-time.After(limit):
		t.Fatalf("saw nothing, want %s", want)
	}
}

func TestWatch(t *testing.T) {
	js := ready(t)
	put(t, js, event(1, "r"), event(2, "other"), event(3, "r"))
	seen := watched(t, js, "r")
	expect(t, seen, "1")
	expect(t, seen, "3")
	put(t, js, event(4, "r"), event(5, "other"), event(6, "r"))
	expect(t, seen, "4")
	expect(t, seen, "6")
}

func TestWatchWaitsForTheStream(t *testing.T) {
	js := connect(t, "")
	seen := watched(t, js, "r")
	expect(t, seen, "error: stream DDS_EVENTS is missing")
	if err := Setup(deadline(t), js, testLayout()); err != nil {
		t.Fatal(err)
	}
	put(t, js, event(1, "r"))
	expect(t, seen, "1")
}

func TestWatchSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, 0)
	port := s.Addr().(*net.TCPAddr).Port
	js := connect(t, s.ClientURL())
	if err := Setup(deadline(t), js, testLayout()); err != nil {
		t.Fatal(err)
	}
	put(t, js, event(1, "r"))
	seen := watched(t, js, "r")
	expect(t, seen, "1")
	stopServer(s)
	startServer(t, dir, port)
	eventually(t, "connected again", js.Conn().IsConnected)
	put(t, js, event(2, "r"))
	for got := range seen {
		if strings.HasPrefix(got, "error") {
			continue // allowed to say so
		}
		if got != "2" {
			t.Fatalf("saw %s, want 2", got)
		}
		break
	}
}

// readers are the names of the consumers of DDS_EVENTS.
func readers(t *testing.T, js jetstream.JetStream) []string {
	t.Helper()
	stream, err := js.Stream(t.Context(), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	list := stream.ConsumerNames(deadline(t))
	var names []string
	for name := range list.Name() {
		names = append(names, name)
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}

// A stream takes a limited number of consumers, so requests that are watched together
// share one, also when it has to be made again, and it goes with who made it.
func TestWatchManyThroughOneConsumer(t *testing.T) {
	js := ready(t)
	put(t, js, event(1, "a"), event(2, "b.c"), event(3, "nobody's"), event(4, "a"))
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	next, stop := iter.Pull2(Watch(ctx, js, "a", "b.c", "later"))
	defer stop()
	expect := func(ids ...int64) {
		t.Helper()
		for _, id := range ids {
			e, err, ok := next()
			for ok && err != nil { // said once, of the consumer that was lost
				e, err, ok = next()
			}
			if !ok || e.ID != id {
				t.Fatalf("event %d, want %d", e.ID, id)
			}
		}
	}
	expect(1, 2, 4)
	put(t, js, event(5, "later"), event(6, "b.c"))
	expect(5, 6)
	names := readers(t, js)
	if len(names) != 1 {
		t.Fatalf("three requests are watched through %d consumers", len(names))
	}
	if err := js.DeleteConsumer(deadline(t), EventsStream, names[0]); err != nil {
		t.Fatal(err)
	}
	put(t, js, event(7, "a"))
	expect(7)
	stop()
	if err := EachEvent(deadline(t), js, func(provision.Event) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if left := readers(t, js); len(left) != 0 {
		t.Errorf("consumers that nobody needs any more: %v", left)
	}
}
