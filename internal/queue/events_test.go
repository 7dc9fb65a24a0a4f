package queue

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"ddsworker/internal/provision"
)

func event(id int64, request string, after uint64) provision.Event {
	return provision.Event{ID: id, RequestID: request, Kind: "test", State: provision.Pending, At: time.Unix(1, 0).UTC(), After: after}
}

// stored lists the ids of the events of a request, or of all with "*".
func stored(t *testing.T, js jetstream.JetStream, subject string) []int64 {
	t.Helper()
	stream, err := js.Stream(deadline(t), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	state := stream.CachedInfo().State
	var ids []int64
	for seq := state.FirstSeq; state.Msgs > 0 && seq <= state.LastSeq; seq++ {
		msg, err := stream.GetMsg(deadline(t), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		e, err := ParseEvent(msg.Header, msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		if subject == "*" || msg.Subject == subject {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// put publishes and returns the sequences by event id.
func put(t *testing.T, js jetstream.JetStream, events ...provision.Event) map[int64]uint64 {
	t.Helper()
	published, err := NewEvents(js).Publish(deadline(t), events)
	if err != nil {
		t.Fatal(err)
	}
	sequences := map[int64]uint64{}
	for _, p := range published {
		sequences[p.ID] = p.Sequence
	}
	if len(sequences) != len(events) {
		t.Fatalf("published %v of %d events", published, len(events))
	}
	return sequences
}

func TestEventsInOrder(t *testing.T) {
	js := ready(t)
	var events []provision.Event
	const requests, each = 700, 3 // more requests than may wait for a receipt at once
	for step := range each {
		for r := range requests {
			events = append(events, event(int64(step*requests+r+1), fmt.Sprint("r", r), 0))
		}
	}
	sequences := put(t, js, events...)
	for r := range requests {
		a, b, c := sequences[int64(r+1)], sequences[int64(requests+r+1)], sequences[int64(2*requests+r+1)]
		if !(a < b && b < c) {
			t.Fatalf("request %d: sequences %d, %d, %d", r, a, b, c)
		}
	}
	if got := stored(t, js, EventSubject("r7")); fmt.Sprint(got) != "[8 708 1408]" {
		t.Errorf("events of r7: %v", got)
	}
	last, err := LastEventID(deadline(t), js)
	if err != nil || last < 2*requests {
		t.Errorf("last event %d, %v", last, err)
	}
}

func TestLastEventIDOfAnEmptyStream(t *testing.T) {
	if last, err := LastEventID(deadline(t), ready(t)); err != nil || last != 0 {
		t.Errorf("got %d, %v", last, err)
	}
}

// A relay that crashed before it noted what it published does so again, within
// the stream's duplicate window or long after it.
func TestEventsAgain(t *testing.T) {
	for _, window := range []time.Duration{2 * time.Minute, 0} {
		t.Run(window.String(), func(t *testing.T) {
			js := eventsWithin(t, window)
			first := put(t, js, event(1, "r", 0), event(2, "r", 0))
			forget(t, js, window)
			again := put(t, js, event(1, "r", 0), event(2, "r", 0), event(3, "r", 0))
			if got := stored(t, js, "*"); fmt.Sprint(got) != "[1 2 3]" {
				t.Errorf("stored %v", got)
			}
			if again[1] < first[1] || again[2] != first[2] || again[3] <= again[2] {
				t.Errorf("sequences were %v, then %v", first, again)
			}
		})
	}
}

// The successor published more while a relay was paused in the middle.
func TestPausedRelay(t *testing.T) {
	js := eventsWithin(t, 0)
	first := put(t, js, event(1, "r", 0))
	successor := put(t, js, event(2, "r", first[1]), event(3, "r", 0))
	forget(t, js, 0)
	paused := put(t, js, event(2, "r", first[1]))
	if paused[2] < successor[2] {
		t.Errorf("event 2 is at %d, the paused relay was told %d", successor[2], paused[2])
	}
	if got := stored(t, js, "*"); fmt.Sprint(got) != "[1 2 3]" {
		t.Errorf("stored %v", got)
	}
}

// eventsWithin makes the streams, DDS_EVENTS with a duplicate window; 0: the
// smallest.
func eventsWithin(t *testing.T, window time.Duration) jetstream.JetStream {
	t.Helper()
	js := connect(t, startServer(t, t.TempDir(), 0).ClientURL())
	made := testLayout().streams()[2]
	made.Duplicates = max(window, duplicateWindow)
	if _, err := js.CreateStream(deadline(t), made); err != nil {
		t.Fatal(err)
	}
	if err := Setup(deadline(t), js, testLayout()); err != nil {
		t.Fatal(err)
	}
	return js
}

// forget waits until the stream's smallest window is over: then it no longer
// takes a second publish of a probe for a duplicate.
func forget(t *testing.T, js jetstream.JetStream, window time.Duration) {
	t.Helper()
	if window > 0 {
		return
	}
	probe := func() bool {
		ack, err := js.Publish(deadline(t), eventsPrefix+"probe", []byte("{}"), jetstream.WithMsgID("probe"))
		if err != nil {
			t.Fatal(err)
		}
		return !ack.Duplicate
	}
	probe()
	eventually(t, "the duplicate window is over", probe)
	stream, err := js.Stream(deadline(t), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(deadline(t), jetstream.WithPurgeSubject(eventsPrefix+"probe")); err != nil {
		t.Fatal(err)
	}
}

func TestEventsAfterTheEarlierOnesAgedOut(t *testing.T) {
	js := ready(t)
	first := put(t, js, event(1, "r", 0), event(2, "other", 0))
	stream, err := js.Stream(deadline(t), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(deadline(t), jetstream.WithPurgeSubject(EventSubject("r"))); err != nil {
		t.Fatal(err)
	}
	put(t, js, event(3, "r", first[1]))
	if got := stored(t, js, EventSubject("r")); fmt.Sprint(got) != "[3]" {
		t.Errorf("stored %v", got)
	}
}

func TestEventsBehindSomethingElse(t *testing.T) {
	js := ready(t)
	if _, err := js.Publish(deadline(t), EventSubject("r"), []byte("not an event")); err != nil {
		t.Fatal(err)
	}
	if got := put(t, js, event(1, "r", 0), event(2, "r", 0)); got[1] != 2 || got[2] != 3 {
		t.Errorf("sequences %v", got)
	}
}

// One request that cannot be published does not hold up the others.
func TestEventsBesideAnError(t *testing.T) {
	js := ready(t)
	huge := event(1, "huge", 0)
	huge.Error = &provision.EventError{Message: strings.Repeat("x", int(js.Conn().MaxPayload()))}
	published, err := NewEvents(js).Publish(deadline(t), []provision.Event{
		huge, event(2, "a", 0), event(3, "huge", 0), event(4, "b", 0), event(5, "a", 0),
	})
	if err == nil || !strings.Contains(err.Error(), "event 1 of request huge") {
		t.Errorf("error: %v", err)
	}
	var ids []int64
	for _, p := range published {
		ids = append(ids, p.ID)
	}
	if fmt.Sprint(ids) != "[2 4 5]" || fmt.Sprint(stored(t, js, "*")) != "[2 4 5]" {
		t.Errorf("published %v, stored %v; event 3 must not come before event 1", ids, stored(t, js, "*"))
	}
}

func TestEventSubject(t *testing.T) {
	for id, want := range map[string]string{
		"order-7":    "dds.events.order-7",
		"A_z~$/0":    "dds.events.A_z~$/0",
		"a b":        "dds.events.b64-YSBi",
		"a.b":        "dds.events.b64-YS5i",
		"*":          "dds.events.b64-Kg",
		">":          "dds.events.b64-Pg",
		"b64-YS5i":   "dds.events.b64-YjY0LVlTNWk",
		"":           "dds.events.b64-",
		"a\x00":      "dds.events.b64-YQA",
		"é":          "dds.events.b64-w6k",
		"subjects??": "dds.events.subjects??",
	} {
		if got := EventSubject(id); got != want {
			t.Errorf("EventSubject(%q) = %s, want %s", id, got, want)
		}
	}
}

// Every id has a subject of its own, which names one token and leads back.
func TestEventSubjectIsUnique(t *testing.T) {
	back := func(subject string) string {
		token := strings.TrimPrefix(subject, eventsPrefix)
		if encoded, ok := strings.CutPrefix(token, "b64-"); ok {
			plain, err := base64.RawURLEncoding.DecodeString(encoded)
			if err != nil {
				return err.Error()
			}
			return string(plain)
		}
		return token
	}
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.OneOf(rapid.String(), rapid.StringMatching(`(b64-)?[ -~]{0,20}`)).Draw(t, "id")
		subject := EventSubject(id)
		if back(subject) != id || strings.Count(subject, ".") != 2 || strings.ContainsAny(subject, " *>\t\r\n") {
			t.Fatalf("EventSubject(%q) = %q", id, subject)
		}
	})
}

func TestEventsOfOddIDs(t *testing.T) {
	js := ready(t)
	odd := event(1, "a.b c>", 0)
	odd.Concerns = 9
	put(t, js, odd)
	for e, err := range Watch(deadline(t), js, "a.b c>") {
		if err != nil {
			t.Fatal(err)
		}
		if e.RequestID != "a.b c>" || e.Concerns != 9 {
			t.Errorf("got %+v", e)
		}
		break
	}
}
