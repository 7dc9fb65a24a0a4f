package queue

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// guard starts a Guard that looks often and ends with the test.
func guard(t *testing.T, js jetstream.JetStream, l Layout, cfg GuardConfig) {
	t.Helper()
	cfg.Interval = 50 * time.Millisecond
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t.Cleanup(NewGuard(js, l, cfg).Close)
}

// awaitUntil waits for a report that is as it should be.
func awaitUntil(t *testing.T, health *reports, what string, ok func(error) bool) {
	t.Helper()
	var last error
	eventually(t, what, func() bool {
		last = health.await(t)
		return ok(last)
	})
}

func TestGuardTellsWhatChanged(t *testing.T) {
	ours := testLayout()
	ours.Recipients = []string{"age1new", "age1old"}
	for what, c := range map[string]struct {
		stream string
		change func(*jetstream.StreamConfig)
		want   string
	}{
		"the recipient": {RequestsStream, func(c *jetstream.StreamConfig) { c.Metadata[recipientKey] = "age1theirs" }, "--replace-recipient"},
		"no recipient":  {RequestsStream, func(c *jetstream.StreamConfig) { delete(c.Metadata, recipientKey) }, "publishes no recipient"},
		"installation":  {EventsStream, func(c *jetstream.StreamConfig) { c.Metadata[installationKey] = "there" }, `belongs to installation "there"`},
		"the subjects":  {RejectedStream, func(c *jetstream.StreamConfig) { c.Subjects = []string{"others"} }, "subjects is others"},
	} {
		t.Run(what, func(t *testing.T) {
			js := connect(t, "")
			if err := Setup(t.Context(), js, ours); err != nil {
				t.Fatal(err)
			}
			health := newReports()
			guard(t, js, ours, GuardConfig{Report: func(part string, err error) {
				if part != PartStreams {
					t.Errorf("reported about part %q", part)
				}
				health.report(part, err)
			}})
			if err := health.await(t); err != nil {
				t.Fatalf("at the start: %v", err)
			}
			before := config(t, js, c.stream)
			changed := config(t, js, c.stream)
			c.change(&changed)
			if _, err := js.UpdateStream(t.Context(), changed); err != nil {
				t.Fatal(err)
			}
			awaitUntil(t, health, "the change is reported", func(err error) bool {
				return err != nil && strings.Contains(err.Error(), c.want)
			})
			if have := config(t, js, c.stream); !describes(have, changed.Metadata) || names(have.Subjects) != names(changed.Subjects) {
				t.Errorf("the guard changed the stream: %+v", have)
			}
			if _, err := js.UpdateStream(t.Context(), before); err != nil {
				t.Fatal(err)
			}
			awaitUntil(t, health, "all is well again", func(err error) bool { return err == nil })
		})
	}
}

// What hands out no bodies, or nothing at all, looks like a quiet stream to intake.
func TestGuardTellsWhatChangedAtTheConsumer(t *testing.T) {
	js := ready(t)
	health := newReports()
	guard(t, js, testLayout(), GuardConfig{Report: health.report})
	ours := testLayout().consumer()
	bodiless := ours
	bodiless.HeadersOnly = true
	update := func(c jetstream.ConsumerConfig) error {
		_, err := js.UpdateConsumer(t.Context(), RequestsStream, c)
		return err
	}
	for want, c := range map[string]struct{ change, undo func() error }{
		"headers_only is true": {func() error { return update(bodiless) }, func() error { return update(ours) }},
		"worker of stream DDS_REQUESTS is paused until": {
			func() error {
				_, err := js.PauseConsumer(t.Context(), RequestsStream, ConsumerName, time.Now().Add(time.Hour))
				return err
			},
			func() error {
				_, err := js.ResumeConsumer(t.Context(), RequestsStream, ConsumerName)
				return err
			},
		},
	} {
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		awaitUntil(t, health, want, func(err error) bool { return err != nil && strings.Contains(err.Error(), want) })
		if err := c.undo(); err != nil {
			t.Fatal(err)
		}
		awaitUntil(t, health, "all is well again", func(err error) bool { return err == nil })
	}
	if err := js.DeleteConsumer(t.Context(), RequestsStream, ConsumerName); err != nil {
		t.Fatal(err)
	}
	awaitUntil(t, health, "it is missing", func(err error) bool {
		return err != nil && strings.Contains(err.Error(), "consumer worker of stream DDS_REQUESTS is missing: run `worker migrate`")
	})
}

// What has no room for a request refuses publishers, which only they would notice.
func TestGuardTellsThatRequestsHaveNoRoom(t *testing.T) {
	js := connect(t, "")
	if err := Setup(t.Context(), js, testLayout()); err != nil {
		t.Fatal(err)
	}
	health := newReports()
	guard(t, js, testLayout(), GuardConfig{Report: health.report})
	for what, narrow := range map[string]func(*jetstream.StreamConfig){
		"bytes":    func(c *jetstream.StreamConfig) { c.MaxBytes = 1 },
		"messages": func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 },
	} {
		before := config(t, js, RequestsStream)
		changed := before
		if _, err := js.Publish(t.Context(), RequestsSubject, nil); err != nil {
			t.Fatal(err)
		}
		narrow(&changed)
		if _, err := js.UpdateStream(t.Context(), changed); err != nil {
			t.Fatal(err)
		}
		awaitUntil(t, health, "no room for "+what, func(err error) bool {
			return err != nil && strings.Contains(err.Error(), "is full") && strings.Contains(err.Error(), what)
		})
		if _, err := js.UpdateStream(t.Context(), before); err != nil {
			t.Fatal(err)
		}
		awaitUntil(t, health, "room again", func(err error) bool { return err == nil })
	}
}

func TestGuardMendsWhatIsMissing(t *testing.T) {
	js := connect(t, "")
	setUp := func(ctx context.Context) error { return Setup(ctx, js, testLayout()) }
	if err := setUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	guard(t, js, testLayout(), GuardConfig{Mend: setUp})
	for _, name := range []string{EventsStream, RejectedStream, RequestsStream} {
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+" is there again", func() bool {
			have, err := readStream(t.Context(), js, name)
			return err == nil && have != nil
		})
	}
	if err := js.DeleteConsumer(t.Context(), RequestsStream, ConsumerName); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Fatal(err) // it is not there either while its stream was just made
	}
	eventually(t, "the consumer is there again", func() bool {
		have, err := readConsumer(t.Context(), js)
		return err == nil && have != nil
	})
}

// After a rotation workers open what either identity sealed; only the log says
// that publishers know the old one.
func TestGuardWarnsOfAnOldRecipient(t *testing.T) {
	js := connect(t, "")
	before, rotated := testLayout(), testLayout()
	before.Recipients, rotated.Recipients = []string{"age1old"}, []string{"age1new", "age1old"}
	if err := Setup(t.Context(), js, before); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), js, rotated); err != nil {
		t.Fatal(err)
	}
	warnings := func(l Layout) string {
		t.Helper()
		var log bytes.Buffer
		health := newReports()
		g := NewGuard(js, l, GuardConfig{Interval: 20 * time.Millisecond, Report: health.report, Log: slog.New(slog.NewTextHandler(&log, nil))})
		for range 3 {
			if err := health.await(t); err != nil {
				t.Error(err)
			}
		}
		g.Close()
		return log.String()
	}
	log := warnings(rotated)
	if strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, "run `worker migrate` to have publishers seal for the first identity") ||
		!strings.Contains(log, "published=age1old first=age1new") {
		t.Errorf("want one warning; log:\n%s", log)
	}
	if err := Setup(t.Context(), js, rotated); err != nil {
		t.Fatal(err)
	}
	if log := warnings(rotated) + warnings(testLayout()); log != "" {
		t.Errorf("warnings without a cause:\n%s", log)
	}
}

// asked is a JetStream without a connection. It tells when it was asked for the
// first of the streams, and gives the next of its answers.
type asked struct {
	jetstream.JetStream
	times   chan time.Duration
	start   time.Time
	answers []error // nil: the stream is as it should be
}

func (a *asked) Conn() *nats.Conn { return new(nats.Conn) }

func (a *asked) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	if name == RequestsStream {
		a.times <- time.Since(a.start)
	}
	if len(a.answers) == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, want := range testLayout().streams() {
		if want.Name == name && a.answers[0] == nil {
			return there{info: &jetstream.StreamInfo{Config: want}}, nil
		}
	}
	err := a.answers[0]
	a.answers = a.answers[1:]
	return nil, err
}

// Consumer is asked for after the last of the streams.
func (a *asked) Consumer(context.Context, string, string) (jetstream.Consumer, error) {
	a.answers = a.answers[1:]
	return thereToo{info: &jetstream.ConsumerInfo{Config: testLayout().consumer()}}, nil
}

// there is a stream that exists.
type there struct {
	jetstream.Stream
	info *jetstream.StreamInfo
}

// thereToo is a consumer that exists.
type thereToo struct {
	jetstream.Consumer
	info *jetstream.ConsumerInfo
}

func (c thereToo) CachedInfo() *jetstream.ConsumerInfo { return c.info }

func (s there) CachedInfo() *jetstream.StreamInfo { return s.info }

// A guard looks every 5 seconds. A connection that is away is a part of its own: the
// guard has nothing to add.
func TestGuardTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		js := &asked{times: make(chan time.Duration), start: time.Now(),
			answers: []error{nil, nil, jetstream.ErrStreamNotFound, nil}}
		g := NewGuard(js, testLayout(), GuardConfig{Report: func(_ string, err error) {
			if err != nil {
				t.Errorf("reported without a connection: %v", err)
			}
		}})
		// The last look is not answered, and asks twice.
		for _, want := range []time.Duration{0, 5, 10, 15, 20, 20 + 1, 20 + 5 + 5} {
			if at := <-js.times; at != want*time.Second {
				t.Errorf("a look after %v, want %v", at, want*time.Second)
			}
		}
		closed := time.Now()
		g.Close()
		if took := time.Since(closed); took > 0 {
			t.Errorf("Close took %v during a look", took)
		}
	})
}
