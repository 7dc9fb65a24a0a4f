package queue

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestSetupMakesWhatTheContractSays(t *testing.T) {
	js := connect(t, "")
	if err := Check(t.Context(), js, testLayout()); err == nil || !strings.Contains(err.Error(), "worker migrate") {
		t.Fatalf("Check without streams: %v; it should name `worker migrate`", err)
	}
	for range 2 { // the second finds everything
		if err := Setup(t.Context(), js, testLayout()); err != nil {
			t.Fatal(err)
		}
	}
	if err := Check(t.Context(), js, testLayout()); err != nil {
		t.Fatal(err)
	}

	requests := config(t, js, RequestsStream)
	if requests.Retention != jetstream.WorkQueuePolicy || requests.Discard != jetstream.DiscardNew ||
		requests.Storage != jetstream.FileStorage || requests.Duplicates != 100*time.Millisecond ||
		names(requests.Subjects) != "dds.requests" || requests.Metadata[installationKey] != "here" {
		t.Errorf("requests: %+v", requests)
	}
	events := config(t, js, EventsStream)
	if events.Retention != jetstream.LimitsPolicy || !events.AllowDirect || events.MaxAge != 7*24*time.Hour ||
		names(events.Subjects) != "dds.events.*" || events.Duplicates != 100*time.Millisecond || events.Discard != jetstream.DiscardOld {
		t.Errorf("events: %+v", events)
	}
	rejected := config(t, js, RejectedStream)
	if rejected.MaxAge != 30*24*time.Hour || names(rejected.Subjects) != "dds.rejected" {
		t.Errorf("rejected: %+v", rejected)
	}
	consumer, err := js.Consumer(t.Context(), RequestsStream, ConsumerName)
	if err != nil {
		t.Fatal(err)
	}
	if c := consumer.CachedInfo().Config; c.AckWait != 30*time.Second || c.MaxAckPending != 20_000 || c.MaxDeliver != -1 {
		t.Errorf("consumer: %+v", c)
	}
}

func config(t *testing.T, js jetstream.JetStream, name string) jetstream.StreamConfig {
	t.Helper()
	have, err := readStream(t.Context(), js, name)
	if err != nil || have == nil {
		t.Fatalf("stream %s: %v, %v", name, have, err)
	}
	return *have
}

func TestStreamsThatDiffer(t *testing.T) {
	const requests, rejected, events = 0, 1, 2
	tests := []struct {
		name   string
		stream int
		change func(*jetstream.StreamConfig)
		want   []string // in the error; none: it is accepted
	}{
		{"as it should be", requests, func(*jetstream.StreamConfig) {}, nil},
		{"sizes and replicas are the operator's", requests, func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20; c.MaxMsgs = 10 }, nil},
		{"retention", requests, func(c *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy }, []string{"retention is Limits, should be WorkQueue"}},
		{"storage", requests, func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, []string{"storage is Memory, should be File"}},
		{"a request that expires is lost", requests, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, []string{"max age is 1h0m0s, should be 0s"}},
		{"what is drowned by others with its subject is lost", requests, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 3 }, []string{"max messages per subject is 3, should be -1"}},
		{"so are events", events, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 3 }, []string{"max messages per subject is 3, should be -1"}},
		{"copies may be few", rejected, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 3 }, nil},
		{"a header that removes all others", requests, func(c *jetstream.StreamConfig) { c.AllowRollup = true }, []string{"allow_rollup_hdrs is true"}},
		{"a header that lets messages expire", requests, func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }, []string{"allow_msg_ttl is true"}},
		{"a header that holds messages back", events, func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = true }, []string{"allow_msg_schedules is true"}},
		{"no receipts", requests, func(c *jetstream.StreamConfig) { c.NoAck = true }, []string{"no_ack is true"}},
		{"receipts before it is written", requests, func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }, []string{"persist mode is Async"}},
		{"under another subject nobody finds them", events, func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "dds.events.*", Destination: "dds.gone.{{wildcard(1)}}"}
		}, []string{"subject transform is true"}},
		{"messages from elsewhere", events, func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "OTHER"}} }, []string{"number of sources is 1"}},
		{
			"two at once", requests,
			func(c *jetstream.StreamConfig) {
				c.Discard = jetstream.DiscardOld
				c.Subjects = append(c.Subjects, "other")
			},
			[]string{"discard is DiscardOld, should be DiscardNew", "subjects is dds.requests, other, should be dds.requests", "nats stream edit DDS_REQUESTS"},
		},
	}
	js := connect(t, "")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			made := testLayout().streams()[tt.stream]
			if tt.stream == events {
				made.AllowAtomicPublish = false // goes with few of the others, and is mended
			}
			tt.change(&made)
			if _, err := js.CreateStream(t.Context(), made); err != nil {
				t.Fatal(err)
			}
			defer func() {
				for _, s := range testLayout().streams() {
					if err := js.DeleteStream(deadline(t), s.Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
						t.Fatal(err)
					}
				}
			}()
			err := Setup(t.Context(), js, testLayout())
			if len(tt.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if have := config(t, js, made.Name); have.MaxBytes != made.MaxBytes || have.MaxMsgs != made.MaxMsgs && made.MaxMsgs != 0 {
					t.Errorf("limits were changed: %+v", have)
				}
				return
			}
			if !errors.Is(err, ErrDiffers) {
				t.Errorf("Setup: %v; want an ErrDiffers", err)
			}
			for _, part := range tt.want {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("Setup: %v\nshould say %q", err, part)
				}
			}
		})
	}
}

func TestSetupMendsWhatIsSafeToMend(t *testing.T) {
	js := connect(t, "")
	made := testLayout().streams()[0]
	made.Duplicates, made.Metadata = 2*time.Minute, map[string]string{"team": "db"}
	if _, err := js.CreateStream(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), js, testLayout()); err == nil || !strings.Contains(err.Error(), "2m0s") {
		t.Errorf("Check of a wide duplicate window: %v", err)
	}
	if err := Setup(t.Context(), js, testLayout()); err != nil {
		t.Fatal(err)
	}
	have := config(t, js, RequestsStream)
	if have.Duplicates != duplicateWindow || have.Metadata[installationKey] != "here" || have.Metadata["team"] != "db" {
		t.Errorf("after Setup: %+v", have)
	}

	other := testLayout().consumer()
	other.BackOff = []time.Duration{time.Millisecond, time.Second}
	if _, err := js.UpdateConsumer(t.Context(), RequestsStream, other); err != nil {
		t.Fatal(err)
	}
	mute := config(t, js, EventsStream)
	mute.AllowDirect = false
	if _, err := js.UpdateStream(t.Context(), mute); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), js, testLayout()); err == nil || !strings.Contains(err.Error(), "allow_direct") {
		t.Errorf("Check of a stream that gives no single messages: %v", err)
	}
	changed := testLayout()
	changed.AckWait, changed.MaxAckPending = time.Minute, 7
	if err := Setup(t.Context(), js, changed); err != nil {
		t.Fatal(err)
	}
	c, err := readConsumer(t.Context(), js)
	if err != nil || c.Config.AckWait != time.Minute || c.Config.MaxAckPending != 7 || len(c.Config.BackOff) > 0 {
		t.Errorf("consumer after a changed layout: %+v, %v", c, err)
	}
	if !config(t, js, EventsStream).AllowDirect {
		t.Error("the events cannot be read one by one after Setup")
	}
}

func TestStreamsOfAnotherInstallation(t *testing.T) {
	js := ready(t)
	other := testLayout()
	other.Installation = "there"
	for name, verify := range map[string]error{
		"Setup": Setup(t.Context(), js, other),
		"Check": Check(t.Context(), js, other),
	} {
		foreign, ok := errors.AsType[*ForeignError](verify)
		if !ok || !errors.Is(verify, ErrDiffers) || foreign.Have != "here" || foreign.Want != "there" {
			t.Errorf("%s: %v; want a ForeignError that is an ErrDiffers", name, verify)
		}
	}
	if err := Adopt(t.Context(), js, other); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), js, other); err != nil {
		t.Errorf("after Adopt: %v", err)
	}
	if err := Check(t.Context(), js, testLayout()); err == nil {
		t.Error("the streams still pass for those of the earlier installation")
	}
}

func TestConsumerThatDiffers(t *testing.T) {
	js := connect(t, "")
	if _, err := js.CreateStream(t.Context(), testLayout().streams()[0]); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*jetstream.ConsumerConfig){
		"max deliveries is 3, should be -1":      func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 3 },
		"headers_only is true, should be false":  func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true },
		"replay is original, should be instant":  func(c *jetstream.ConsumerConfig) { c.ReplayPolicy = jetstream.ReplayOriginalPolicy },
		"filter is dds.requests, should be none": func(c *jetstream.ConsumerConfig) { c.FilterSubject = RequestsSubject },
	} {
		made := testLayout().consumer()
		change(&made)
		if _, err := js.CreateConsumer(t.Context(), RequestsStream, made); err != nil {
			t.Fatal(err)
		}
		err := Setup(t.Context(), js, testLayout())
		if !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), want) {
			t.Errorf("Setup: %v; should say %q", err, want)
		}
		if err := js.DeleteConsumer(t.Context(), RequestsStream, ConsumerName); err != nil {
			t.Fatal(err)
		}
	}
}

// A question that the server leaves unanswered is asked once more.
func TestReadAsksTwice(t *testing.T) {
	s := startWith(t, server.Options{})
	js := connect(t, s.ClientURL())
	asked := 0
	_, err := js.Conn().Subscribe("$JS.API.STREAM.INFO."+RequestsStream, func(m *nats.Msg) {
		if asked++; asked > 1 {
			_ = m.Respond([]byte(`{"type":"io.nats.jetstream.api.v1.stream_info_response","error":{"code":404,"err_code":10059,"description":"stream not found"}}`))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if have, err := readStream(t.Context(), js, RequestsStream); have != nil || err != nil || asked != 2 {
		t.Errorf("asked %d times, read %v, %v; want no stream after two", asked, have, err)
	}
}
