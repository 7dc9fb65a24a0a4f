package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
)

// event is one of the request with that state; more is added by the caller.
func event(state provision.State) provision.Event {
	return provision.Event{Kind: string(state), State: state}
}

func failed(code string) provision.Event {
	e := event(provision.Failed)
	e.Error = &provision.EventError{Code: code, Message: "no\x1b[31m money", Class: "quota"}
	return e
}

// about makes an event one about the message with that sequence.
func about(sequence uint64, kind string, state provision.State) provision.Event {
	e := event(state)
	e.Kind, e.Concerns, e.Error = kind, sequence, &provision.EventError{Code: "ID_REUSED", Message: "another body"}
	return e
}

// life is that of a request whose instance comes to be.
func life() []provision.Event {
	half := 45
	building := event(provision.Building)
	building.Progress, building.InstanceID, building.JobID = &half, "in-1", "job-1"
	again := building
	ready := event(provision.Ready)
	ready.InstanceID, ready.JobID = "in-1", "job-1"
	return []provision.Event{event(provision.Pending), event(provision.Creating), building, again, ready}
}

// worker stands in for the fleet: it takes requests and tells what became of them.
type worker struct {
	js   jetstream.JetStream
	last int64 // id of the last event
}

// tell publishes events of a request.
func (w *worker) tell(t *testing.T, id string, events ...provision.Event) {
	t.Helper()
	after := uint64(w.last)
	for i := range events {
		w.last++
		events[i].ID, events[i].RequestID = w.last, id
	}
	if _, err := queue.NewEvents(w.js).Publish(t.Context(), after, events); err != nil {
		t.Error(err)
	}
}

// message is what the worker reads of a request.
type message struct {
	id, name string
	sequence uint64
}

// serve takes every message in and publishes what answer returns for it. It
// ends with the test.
func (w *worker) serve(t *testing.T, answer func(message) []provision.Event) {
	t.Helper()
	consumer, err := w.js.Consumer(t.Context(), queue.RequestsStream, queue.ConsumerName)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { messages.Stop(); <-done })
	go func() {
		defer close(done)
		for {
			m, err := messages.Next()
			if err != nil {
				if !errors.Is(err, jetstream.ErrMsgIteratorClosed) {
					t.Error(err)
				}
				return
			}
			meta, err := m.Metadata()
			if err != nil {
				t.Error(err)
				return
			}
			spec, err := provision.Rules{}.Parse(m.Data())
			if err != nil {
				t.Error(err)
			}
			id := m.Headers().Get(jetstream.MsgIDHeader)
			if err := m.DoubleAck(t.Context()); err != nil {
				t.Error(err)
			}
			w.tell(t, id, answer(message{id, spec.Name, meta.Sequence.Stream})...)
		}
	}()
}

func TestWaitUntilReady(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	(&worker{js: js}).serve(t, func(message) []provision.Event { return life() })
	body := single("test-one", canary)

	c := enqueue(t, body, "create", "-f", "-", "--wait")
	id := strings.TrimSpace(c.stdout)
	c.expect(t, 0, "test-one ("+id+"): building 45%, instance in-1\n", "test-one ("+id+"): ready, instance in-1\n")
	if strings.Count(c.stderr, "building") != 1 || c.stdout != id+"\n" {
		t.Errorf("repeated or misplaced output:\n%s%s", c.stdout, c.stderr)
	}

	c = enqueue(t, body, "create", "-f", "-", "--wait", "-o", "json")
	c.expect(t, 0)
	id2 := c.results(t)[0]["id"]
	want := fmt.Sprintf(`{"id":"%s","name":"test-one","sequence":2,"state":"ready","instance_id":"in-1","job_id":"job-1"}`+"\n", id2)
	if c.stdout != want {
		t.Errorf("standard output:\n%swant:\n%s", c.stdout, want)
	}

	// What is over is told from the stream, each request once.
	c = enqueue(t, "", "wait", id, id, "-o", "json")
	c.expect(t, 0)
	if want := fmt.Sprintf(`{"id":"%s","state":"ready","instance_id":"in-1","job_id":"job-1"}`+"\n", id); c.stdout != want {
		t.Errorf("standard output:\n%swant:\n%s", c.stdout, want)
	}
}

// A stream takes a limited number of consumers, here one, and who waits next needs it.
func TestWaitForManyThroughOneConsumer(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	stream, err := js.Stream(t.Context(), queue.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.MaxConsumers = 1
	if err := js.DeleteStream(t.Context(), queue.EventsStream); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	(&worker{js: js}).serve(t, func(message) []provision.Event { return life() })
	bodies := strings.Repeat(single("test-one", canary), 20)
	for range 2 {
		c := enqueue(t, bodies, "create", "-f", "-", "--wait")
		c.expect(t, 0)
		if n := strings.Count(c.stderr, "ready, instance in-1"); n != 20 || strings.Contains(c.stderr, "no events for now") {
			t.Errorf("%d of 20 requests are ready; standard error:\n%s", n, c.stderr)
		}
	}
}

func TestWaitForRequestsThatDoNotBecomeReady(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	ends := map[string]provision.Event{
		"test-ready": event(provision.Ready), "test-failed": failed("DBS.200050"), "test-cancelled": event(provision.Cancelled),
	}
	(&worker{js: js}).serve(t, func(m message) []provision.Event {
		if m.name == "test-rejected" {
			return []provision.Event{about(m.sequence, "rejected", provision.Rejected)}
		}
		return []provision.Event{event(provision.Pending), ends[m.name]}
	})
	var last string
	for _, end := range []string{"rejected", "cancelled", "failed"} {
		c := enqueue(t, single("test-"+end, canary), "create", "-f", "-", "--wait")
		last = strings.TrimSpace(c.stdout)
		c.expect(t, 1, "test-"+end+" ("+last+"): "+end, "1 of 1 requests did not become ready")
	}
	c := enqueue(t, "", "wait", last, "-o", "json")
	c.expect(t, 1, last+": failed: DBS.200050 no [31m money")
	want := `{"id":"` + last + `","state":"failed","error":{"code":"DBS.200050","message":"no\u001b[31m money","class":"quota"}}` + "\n"
	if c.stdout != want {
		t.Errorf("standard output:\n%swant:\n%s", c.stdout, want)
	}
	c = enqueue(t, single("test-ready", canary)+single("test-failed", canary), "create", "-f", "-", "-w")
	c.expect(t, 1, "1 of 2 requests did not become ready")
}

func TestIDThatWasUsedBefore(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	type answer func(message) []provision.Event
	nothing := func(message) []provision.Event { return nil }
	whole := func(message) []provision.Event { return life() }
	refusal := func(m message) []provision.Event {
		return []provision.Event{about(m.sequence, "refused", provision.Ready)}
	}
	const another = 77 // sequence of a message that is not ours
	cases := map[string]struct {
		before []provision.Event
		answer answer
		code   int
		says   string
	}{
		"same body, ready":   {life(), nothing, 0, "ready, instance in-1"},
		"same body, failed":  {[]provision.Event{failed("X.1")}, nothing, 1, "failed: X.1"},
		"other body":         {life(), refusal, 1, "rejected, instance in-1: ID_REUSED another body"},
		"another is refused": {[]provision.Event{about(another, "refused", provision.Pending)}, whole, 0, "ready"},
		"refused at the end": {append(life(), about(another, "refused", provision.Ready)), nothing, 0, "ready"},
		"rejected before":    {[]provision.Event{about(another, "rejected", provision.Rejected)}, whole, 0, "ready"},
		"failed and retried": {append([]provision.Event{failed("X.1")}, life()...), nothing, 0, "ready"},
	}
	w := &worker{js: js}
	for id, c := range cases {
		w.tell(t, id, c.before...)
	}
	w.serve(t, func(m message) []provision.Event { return cases[m.id].answer(m) })
	for id, c := range cases {
		t.Run(id, func(t *testing.T) {
			t.Parallel() // each takes the time in which a refusal might come
			got := enqueue(t, single("test-one", canary), "create", "-f", "-", "--wait", "--id", id, "-o", "json")
			got.expect(t, c.code, c.says)
			if r := got.results(t); len(r) != 1 || r[0]["id"] != id {
				t.Errorf("results: %v", r)
			}
		})
	}
}

// A request whose events are not kept any more is acknowledged once more, and nothing
// follows.
func TestWaitForWhatWasKnownLongAgo(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	publish := func(id string) tracked {
		sequence, err := queue.NewPublisher(js, 0).Publish(t.Context(), queue.Request{ID: id, Body: []byte(single("test-one", ""))})
		if err != nil {
			t.Fatal(err)
		}
		return tracked{id: id, sequence: sequence}
	}
	wait := func(until string, all ...tracked) called { // until it ends or says this
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		var stdout bytes.Buffer
		stderr := &watched{}
		if until != "" {
			seen := stderr.when(until)
			go func() {
				select {
				case <-seen:
					cancel()
				case <-ctx.Done():
				}
			}()
		}
		w := &waiter{js: js, screen: &screen{out: stderr}, out: &output{json: true, stdout: &stdout}, timeout: limit, silence: 20 * time.Millisecond}
		code := (&program{stderr: stderr}).end(w.wait(ctx, all))
		return called{code, stdout.String(), stderr.String()}
	}
	old := publish("old")
	old.reused = true
	const waits, late = "it is stored and waits for a worker", "a worker has taken it, and its events are late"
	wait(waits, old).expect(t, exitInterrupted, waits)

	(&worker{js: js}).serve(t, func(m message) []provision.Event {
		return map[string][]provision.Event{"new": life()}[m.id]
	})
	c := wait("", old, publish("new"))
	c.expect(t, exitUnknown, "old: a worker took it and no event followed", "provisioning_history", "new: ready, instance in-1", "1 of 2 requests were known before")
	if !strings.Contains(c.stdout, `{"id":"old","sequence":1,"error":{"message":"a worker took it`) {
		t.Errorf("standard output:\n%s", c.stdout)
	}
	old.reused = false // of an id of our own making nobody knew before
	wait(late, old).expect(t, exitInterrupted, late)
}

func TestWaitShowsWhereARetriedRequestIs(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	w := &worker{js: js}
	w.tell(t, "one", append([]provision.Event{
		about(1, "rejected", provision.Rejected), event(provision.Pending), failed("X.1"), about(9, "refused", provision.Failed),
	}, life()...)...)
	enqueue(t, "", "wait", "one").expect(t, 0, "one: ready, instance in-1")
}

func TestWaitTakesTooLong(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	w := &worker{js: js}
	w.tell(t, "slow", life()[:3]...)
	w.tell(t, "done", life()...)
	w.tell(t, "bad", failed("X.1"))

	c := enqueue(t, "", "wait", "done", "slow", "it's", "--timeout", "1s", "-o", "json")
	c.expect(t, 4, "after 1s 2 of 3 requests go on without you", `enqueue wait slow 'it'\''s'`)
	states := map[any]any{}
	for _, r := range c.results(t) {
		states[r["id"]] = r["state"]
	}
	if states["done"] != "ready" || states["slow"] != "building" || len(states) != 3 || states["it's"] != nil {
		t.Errorf("results: %s", c.stdout)
	}
	// A failure is more than a delay.
	enqueue(t, "", "wait", "bad", "slow", "--timeout", "1s").expect(t, 1, "1 of 2 requests did not become ready", "enqueue wait slow")
	// Nobody takes ours in, so an earlier end is no answer.
	enqueue(t, single("test-one", canary), "create", "-f", "-", "--wait", "--id", "done", "--timeout", "5s").expect(t, 4)
}

func TestWaitIsInterrupted(t *testing.T) {
	js := startNATS(t, queue.Layout{})
	(&worker{js: js}).serve(t, func(message) []provision.Event { return life()[:3] })
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	stderr := &watched{}
	seen := stderr.when("building 45%")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-seen:
		case <-ctx.Done():
			t.Error("no progress was shown")
		}
		cancel()
	}()
	c := enqueueIn(ctx, t, stderr, single("test-one", canary), "create", "-f", "-", "--wait")
	<-stopped
	c.expect(t, 130, "interrupted; 1 of 1 requests go on without you", "enqueue wait "+strings.TrimSpace(c.stdout))
}

func TestWaitWithoutStreamOfEvents(t *testing.T) {
	startBareNATS(t)
	c := enqueue(t, "", "wait", "one", "two", "--timeout", "1s")
	c.expect(t, 4, "no events for now: stream DDS_EVENTS is missing: run `worker migrate`")
	if strings.Count(c.stderr, "no events for now") != 1 {
		t.Errorf("the same trouble is told twice:\n%s", c.stderr)
	}
}

func TestWaitForAnIDThatNobodyKnows(t *testing.T) {
	startNATS(t, queue.Layout{})
	c := enqueue(t, "", "wait", "mistyped", "--timeout", "6s")
	c.expect(t, 4, "mistyped: nothing is known of it so far", "no request has this id")
}

func TestBars(t *testing.T) {
	var terminal bytes.Buffer
	s := &screen{out: &terminal}
	s.draw()
	s.add(tracked{id: "id-1", name: "test-one"})
	s.add(tracked{id: "id-2"})
	half := 45
	s.show(0, result{State: provision.Building, Progress: &half})
	s.finish(0, result{State: provision.Ready, InstanceID: "in-1"})
	s.show(1, result{State: provision.Pending, Error: &provision.EventError{Code: "X.1", Message: strings.Repeat("long ", 99)}})
	fmt.Fprintln(s, "a notice")
	s.stop()
	fmt.Fprintln(s, "the end")
	for _, want := range []string{"test-one (id-1): ready, instance in-1\n", "id-2", "pending: X.1 long", "…", "a notice\n", "the end\n"} {
		if !strings.Contains(terminal.String(), want) {
			t.Errorf("the terminal does not show %q:\n%q", want, terminal.String())
		}
	}
	if strings.Contains(terminal.String(), strings.Repeat("long ", 20)) {
		t.Error("a status is longer than its line")
	}
}
