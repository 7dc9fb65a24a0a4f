package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

func TestPublishMany(t *testing.T) {
	js := ready(t)
	p := NewPublisher(js, 0)
	const many = 200
	sequences := make([]uint64, many)
	group, ctx := errgroup.WithContext(deadline(t))
	for n := range many {
		group.Go(func() (err error) {
			sequences[n], err = p.Publish(ctx, Request{ID: fmt.Sprint("r", n), ProjectID: "p", Body: []byte("{}")})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, m := range receive(t, inbox(t, js, InboxConfig{}), many) {
		var n int
		if _, err := fmt.Sscanf(m.ID, "r%d", &n); err != nil || sequences[n] != m.Sequence || m.ProjectID != "p" {
			t.Errorf("message %q of project %q at %d, its publisher was told %d", m.ID, m.ProjectID, m.Sequence, sequences[n])
		}
	}
}

// Two bodies under one id are for the workers to compare; the stream must not
// swallow the second.
func TestPublishTheSameIDTwice(t *testing.T) {
	js := ready(t)
	if first, second := publish(t, js, "a"), publish(t, js, "a"); first == second {
		t.Errorf("both are at %d", first)
	}
	if n := waiting(t, js); n != 2 {
		t.Errorf("the stream has %d messages", n)
	}
}

func TestPublishFailsClearly(t *testing.T) {
	js := connect(t, "")
	p := NewPublisher(js, 0)
	_, err := p.Publish(deadline(t), Request{ID: "a", Body: []byte("{}")})
	if !errors.Is(err, jetstream.ErrNoStreamResponse) || !strings.Contains(err.Error(), "worker migrate") {
		t.Errorf("without a stream: %v", err)
	}

	full := testLayout()
	full.RequestsMaxBytes = 1000
	if err := Setup(deadline(t), js, full); err != nil {
		t.Fatal(err)
	}
	_, err = p.Publish(deadline(t), Request{ID: "a", Body: make([]byte, 2000)})
	if err == nil || !strings.HasPrefix(err.Error(), "not stored: stream DDS_REQUESTS refused it") {
		t.Errorf("to a full stream: %v", err)
	}
	_, err = p.Publish(deadline(t), Request{ID: "a", Body: make([]byte, js.Conn().MaxPayload()+1)})
	if err == nil || !strings.HasPrefix(err.Error(), "not stored: the body has") {
		t.Errorf("a huge body: %v", err)
	}
	_, err = p.Publish(deadline(t), Request{ID: "a\nb"})
	if err == nil || !strings.Contains(err.Error(), "header Nats-Msg-Id has a character") {
		t.Errorf("a bad id: %v", err)
	}
}

// A lost receipt may hide a stored request, and what to do depends on the id.
func TestPublishWithoutReceipt(t *testing.T) {
	s := startServer(t, t.TempDir(), 0)
	js := connect(t, s.ClientURL())
	stopServer(s)
	p := NewPublisher(js, 50*time.Millisecond)
	for id, want := range map[string]string{"a": "publish it again with the same id a", "": "would be a second request"} {
		_, err := p.Publish(deadline(t), Request{ID: id})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
			t.Errorf("id %q: %v; should say %q", id, err, want)
		}
	}
}

func TestIsWaiting(t *testing.T) {
	js := ready(t)
	waits := func(sequence uint64) bool {
		t.Helper()
		waits, err := IsWaiting(t.Context(), js, sequence)
		if err != nil {
			t.Fatal(err)
		}
		return waits
	}
	if waits(1) {
		t.Error("a message waits that nobody published")
	}
	for range 4 {
		publish(t, js, "")
	}
	messages := receive(t, inbox(t, js, InboxConfig{}), 4)
	settled := 0
	for _, i := range []int{1, 2, 0, 3} {
		if !waits(messages[i].Sequence) {
			t.Errorf("message %d does not wait before it is settled", i)
		}
		if err := messages[i].Settle.Ack(); err != nil {
			t.Fatal(err)
		}
		settled++
		eventually(t, "the message leaves the stream", func() bool { return waiting(t, js) == uint64(4-settled) })
		if waits(messages[i].Sequence) {
			t.Errorf("message %d waits after it was settled", i)
		}
	}
	if err := js.DeleteStream(t.Context(), RequestsStream); err != nil {
		t.Fatal(err)
	}
	if _, err := IsWaiting(t.Context(), js, 1); err == nil {
		t.Error("there is no error without the stream")
	}
}
