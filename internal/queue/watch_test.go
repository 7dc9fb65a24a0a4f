package queue

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// watched runs a Watch and sends what it yields: event ids, or "error".
func watched(t *testing.T, js jetstream.JetStream, request string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	seen := make(chan string, 100)
	go func() {
		defer close(seen)
		for e, err := range Watch(ctx, js, request) {
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
