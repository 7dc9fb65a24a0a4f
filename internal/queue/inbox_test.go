package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"
)

// prepare makes missing streams, as a worker with SETUP=auto does.
func prepare(js jetstream.JetStream) func(context.Context) error {
	return func(ctx context.Context) error { return Setup(ctx, js, testLayout()) }
}

// remake deletes DDS_REQUESTS and makes it anew.
func remake(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	if err := js.DeleteStream(deadline(t), RequestsStream); err != nil {
		t.Fatal(err)
	}
	if err := Setup(deadline(t), js, testLayout()); err != nil {
		t.Fatal(err)
	}
}

// outstanding is how many deliveries are out and not settled.
func outstanding(t *testing.T, js jetstream.JetStream) int {
	t.Helper()
	consumer, err := js.Consumer(deadline(t), RequestsStream, ConsumerName)
	if err != nil {
		t.Fatal(err)
	}
	return consumer.CachedInfo().NumAckPending
}

func TestReceiveReturnsWhatPiledUp(t *testing.T) {
	js := ready(t)
	i := inbox(t, js, InboxConfig{})
	publish(t, js, "0")
	if got := receive(t, i, 1); got[0].ID != "0" { // one, without waiting for more
		t.Fatalf("got %q", got[0].ID)
	}
	for n := range 20 {
		publish(t, js, fmt.Sprint(n+1))
	}
	eventually(t, "20 deliveries lie in the inbox", func() bool { return len(i.ready) == 20 })
	first, err := i.Receive(deadline(t), 15)
	if err != nil || len(first) != 15 {
		t.Fatalf("got %d messages (%v), want the limit of 15", len(first), err)
	}
	rest, err := i.Receive(deadline(t), 15)
	if err != nil || len(rest) != 5 {
		t.Fatalf("got %d messages (%v), want the 5 that are left", len(rest), err)
	}
	for n, m := range append(first, rest...) {
		if m.ID != fmt.Sprint(n+1) {
			t.Errorf("message %d is %q", n+1, m.ID)
		}
		if err := m.Settle.Ack(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "only the first is in the stream", func() bool { return waiting(t, js) == 1 })
}

func TestReceiveEndsWithItsContext(t *testing.T) {
	i := inbox(t, ready(t), InboxConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := i.Receive(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestPrefetchIsBounded(t *testing.T) {
	const messages = 30
	for _, prefetch := range []int{2, 3, 10} {
		t.Run(fmt.Sprint(prefetch), func(t *testing.T) {
			js := connect(t, startServer(t, t.TempDir(), 0).ClientURL())
			if err := Setup(t.Context(), js, testLayout()); err != nil {
				t.Fatal(err)
			}
			for n := range messages {
				publish(t, js, fmt.Sprint(n))
			}
			i := inbox(t, js, InboxConfig{Prefetch: prefetch})
			for taken := range messages {
				eventually(t, "the inbox is full or has the rest", func() bool {
					return len(i.ready) == min(cap(i.ready), messages-taken)
				})
				if out := outstanding(t, js); out > prefetch {
					t.Fatalf("%d deliveries are out after %d were settled, prefetch is %d", out, taken, prefetch)
				}
				if err := receive(t, i, 1)[0].Settle.Ack(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the ack arrived", func() bool { return waiting(t, js) == uint64(messages-taken-1) })
			}
		})
	}
}

func TestPrefetchIsBoundedInBytes(t *testing.T) {
	const (
		messages = 40
		size     = 1<<20 - 1<<10 // as large as the server lets through, with the headers
		limit    = 16 << 20
	)
	layout := testLayout()
	layout.RequestsMaxBytes = 64 << 20
	js := connect(t, startServer(t, t.TempDir(), 0).ClientURL())
	if err := Setup(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	for n := range messages {
		if _, err := NewPublisher(js, 0).Publish(deadline(t), Request{ID: fmt.Sprint(n), Body: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	i := inbox(t, js, InboxConfig{PrefetchBytes: limit})
	for taken := 0; taken < messages; {
		eventually(t, "the inbox is full or has the rest", func() bool {
			return len(i.ready) == min(limit/4/size, messages-taken)
		})
		if out := outstanding(t, js); out*size > limit {
			t.Fatalf("%d deliveries of %d bytes are out after %d were settled, the limit is %d", out, size, taken, limit)
		}
		batch, err := i.Receive(deadline(t), messages)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range batch {
			if err := m.Settle.Ack(); err != nil {
				t.Fatal(err)
			}
		}
		taken += len(batch)
		eventually(t, "the acks arrived", func() bool { return waiting(t, js) == uint64(messages-taken) })
	}
}

func TestPullsGetWideOnceNothingLargeComes(t *testing.T) {
	const large, small = 1 << 20, 1 << 10
	i := inbox(t, ready(t), InboxConfig{})
	narrow, wide := i.pullMessages(false), i.pullMessages(true)
	if narrow*large > 16<<20 || wide < 200 || wide*largestRequest > 16<<20 {
		t.Fatalf("pulls are for %d or %d messages", narrow, wide)
	}
	g := &Inbox{js: i.js, cfg: i.cfg} // whose pulls nobody makes
	send := func(n int, size int64) (resizes int) {
		for range n {
			if g.gauge(size) {
				resizes++
			}
		}
		return resizes
	}
	for _, step := range []struct {
		n       int
		size    int64
		resizes int
		wide    bool
	}{{narrow - 1, small, 0, false}, {1, large, 0, false}, {narrow - 1, small, 0, false}, {1, small, 1, true}, {500, small, 0, true},
		{1, large, 1, false}, {3, large, 0, false}, {narrow, small, 1, true}} {
		if n := send(step.n, step.size); n != step.resizes || g.wide != step.wide {
			t.Fatalf("after %d of %d bytes: %d changes, wide %v; want %d and %v", step.n, step.size, n, g.wide, step.resizes, step.wide)
		}
	}
}

func TestReceiveStopsAtABatchOfBytes(t *testing.T) {
	i := &Inbox{ready: make(chan delivery, 10), room: semaphore.NewWeighted(1 << 30), done: make(chan struct{})}
	for range 10 {
		if err := i.put(t.Context(), delivery{size: maxBatch / 4}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{4, 4, 2} {
		if batch, err := i.Receive(deadline(t), 10); err != nil || len(batch) != want {
			t.Errorf("got %d messages (%v), want %d", len(batch), err, want)
		}
	}
	if !i.room.TryAcquire(1 << 30) {
		t.Error("what was received still takes room")
	}
}

func TestCloseGivesBack(t *testing.T) {
	js := ready(t)
	for n := range 10 {
		publish(t, js, fmt.Sprint(n))
	}
	i := NewInbox(js, InboxConfig{Prefetch: 8})
	kept := receive(t, i, 1)[0]
	eventually(t, "the inbox is full again", func() bool { return len(i.ready) == cap(i.ready) })
	i.Close()
	if _, err := i.Receive(deadline(t), 1); !errors.Is(err, ErrInboxClosed) {
		t.Errorf("Receive after Close: %v", err)
	}
	if err := kept.Settle.Ack(); err != nil {
		t.Fatal(err)
	}
	// AckWait is longer than the test may take: only what was given back comes.
	ids := map[string]bool{}
	for _, m := range receive(t, inbox(t, js, InboxConfig{}), 9) {
		ids[m.ID] = true
	}
	if len(ids) != 9 || ids[kept.ID] {
		t.Errorf("another inbox got %v; %s was settled", ids, kept.ID)
	}
}

func TestConsumerDeleted(t *testing.T) {
	js := ready(t)
	health := newReports()
	i := inbox(t, js, InboxConfig{Prepare: prepare(js), Report: health.report})
	if err := health.await(t); err != nil {
		t.Fatal(err)
	}
	publish(t, js, "before")
	before := receive(t, i, 1)[0]
	if err := js.DeleteConsumer(deadline(t), RequestsStream, ConsumerName); err != nil {
		t.Fatal(err)
	}
	if err := health.await(t); !errors.Is(err, jetstream.ErrConsumerDeleted) {
		t.Errorf("reported %v", err)
	}
	if err := health.await(t); err != nil {
		t.Errorf("reported %v, want that it works again", err)
	}
	publish(t, js, "after")
	got := receive(t, i, 2) // the new consumer knows of no delivery
	if got[0].ID != "before" || got[1].ID != "after" {
		t.Errorf("got %q and %q", got[0].ID, got[1].ID)
	}
	if err := before.Settle.Ack(); !errors.Is(err, errOutlived) {
		t.Errorf("the old delivery could be settled: %v", err)
	}
}

// The server would take the acknowledgement of the old stream's first message
// for one of the new stream's first message, and remove that.
// What a consumer without bodies hands out waits until it has them again.
func TestConsumerThatLeavesBodiesOut(t *testing.T) {
	js := ready(t)
	health := newReports()
	i := inbox(t, js, InboxConfig{Report: health.report})
	if err := health.await(t); err != nil {
		t.Fatal(err)
	}
	change := func(headersOnly bool) {
		t.Helper()
		c := testLayout().consumer()
		c.HeadersOnly = headersOnly
		if _, err := js.UpdateConsumer(deadline(t), RequestsStream, c); err != nil {
			t.Fatal(err)
		}
	}
	change(true)
	publish(t, js, "one")
	awaitUntil(t, health, "it is told", func(err error) bool {
		return err != nil && strings.Contains(err.Error(), "headers_only is true, should be false")
	})
	change(false)
	got := receive(t, i, 1)[0]
	if got.ID != "one" || string(got.Body) != `{"name":"a"}` {
		t.Errorf("received %s with the body %q", got.ID, got.Body)
	}
	// Whoever says the same of an empty message does not hold up others.
	forged := nats.NewMsg(RequestsSubject)
	forged.Header.Set(nats.MsgSize, "12")
	if _, err := js.PublishMsg(deadline(t), forged); err != nil {
		t.Fatal(err)
	}
	publish(t, js, "two")
	if got := receive(t, i, 2); len(got[0].Body) != 0 || got[1].ID != "two" {
		t.Errorf("received %+v", got)
	}
}

func TestAckDoesNotReachANewStream(t *testing.T) {
	js := ready(t)
	i := inbox(t, js, InboxConfig{Prepare: prepare(js)})
	publish(t, js, "old")
	old := receive(t, i, 1)[0]
	remake(t, js)
	publish(t, js, "new")
	now := receive(t, i, 1)[0]
	if now.ID != "new" || now.Sequence != old.Sequence {
		t.Fatalf("got %q with sequence %d: the test proves nothing", now.ID, now.Sequence)
	}
	if err := old.Settle.Ack(); !errors.Is(err, errOutlived) {
		t.Errorf("the old delivery could be settled: %v", err)
	}
	if err := now.Settle.Nak(0); err != nil {
		t.Fatal(err)
	}
	if again := receive(t, i, 1)[0]; again.ID != "new" {
		t.Errorf("got %q again", again.ID)
	}
}

func TestStreamDeletedAndNotMadeAgain(t *testing.T) {
	js := ready(t)
	health := newReports()
	i := inbox(t, js, InboxConfig{
		Prepare: func(ctx context.Context) error { return Check(ctx, js, testLayout()) },
		Report:  health.report,
	})
	if err := health.await(t); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(deadline(t), RequestsStream); err != nil {
		t.Fatal(err)
	}
	if err := health.await(t); err == nil {
		t.Fatal("reported that it works")
	}
	if err := Setup(deadline(t), js, testLayout()); err != nil {
		t.Fatal(err)
	}
	if err := health.await(t); err != nil {
		t.Fatalf("reported %v, want that it works again", err)
	}
	publish(t, js, "a")
	receive(t, i, 1)
}

func TestServerRestarted(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, 0)
	port := s.Addr().(*net.TCPAddr).Port
	js := connect(t, s.ClientURL())
	if err := Setup(t.Context(), js, testLayout()); err != nil {
		t.Fatal(err)
	}
	i := inbox(t, js, InboxConfig{Prepare: prepare(js)})
	publish(t, js, "a")
	if err := receive(t, i, 1)[0].Settle.Ack(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ack arrived", func() bool { return waiting(t, js) == 0 })
	publish(t, js, "b")
	b := receive(t, i, 1)[0]
	stopServer(s)
	startServer(t, dir, port)
	eventually(t, "connected again", js.Conn().IsConnected)
	if err := b.Settle.Ack(); err != nil { // the consumer is the same one, so this counts
		t.Errorf("a delivery from before the restart: %v", err)
	}
	publish(t, js, "c")
	if c := receive(t, i, 1)[0]; c.ID != "c" {
		t.Errorf("got %q", c.ID)
	}
	eventually(t, "only c waits", func() bool { return waiting(t, js) == 1 })
}
