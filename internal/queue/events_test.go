package queue

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"ddsworker/internal/provision"
)

func event(id int64, request string) provision.Event {
	return provision.Event{ID: id, RequestID: request, Kind: "test", State: provision.Pending, At: time.Unix(1, 0).UTC()}
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

// lastPlace is the sequence of the last message of the stream.
func lastPlace(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	stream, err := js.Stream(deadline(t), EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}

// put publishes behind whatever is there.
func put(t *testing.T, js jetstream.JetStream, events ...provision.Event) {
	t.Helper()
	if p := publishAt(t, js, lastPlace(t, js), events...); len(p.IDs) != len(events) {
		t.Fatalf("published %v of %d events", p.IDs, len(events))
	}
}

func publishAt(t *testing.T, js jetstream.JetStream, after uint64, events ...provision.Event) provision.Published {
	t.Helper()
	p, err := NewEvents(js).Publish(deadline(t), after, events)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sequenceOf makes events of a few requests with the ids from first on.
func sequenceOf(first, n int) []provision.Event {
	var events []provision.Event
	for id := first; id < first+n; id++ {
		events = append(events, event(int64(id), fmt.Sprint("r", id%7)))
	}
	return events
}

func numbers(first, n int) (ids []int64) {
	for id := first; id < first+n; id++ {
		ids = append(ids, int64(id))
	}
	return ids
}

// One by one, in a batch and in several, they come in their order and once.
func TestEventsInOrder(t *testing.T) {
	for _, n := range []int{1, smallBatch - 1, smallBatch, maxBatched, 2*maxBatched + 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			js := ready(t)
			p := publishAt(t, js, 0, sequenceOf(1, n)...)
			if !slices.Equal(p.IDs, numbers(1, n)) || p.Last != uint64(n) || p.After != 0 {
				t.Errorf("it tells of %d events from %d to %d", len(p.IDs), p.After, p.Last)
			}
			if got := stored(t, js, "*"); !slices.Equal(got, numbers(1, n)) {
				t.Errorf("%d are stored", len(got))
			}
			if last, err := LastEvent(deadline(t), js); err != nil || last.ID != int64(n) || last.Sequence != uint64(n) {
				t.Errorf("last event %d at %d, %v", last.ID, last.Sequence, err)
			}
		})
	}
}

func TestLastEventOfAnEmptyStream(t *testing.T) {
	if last, err := LastEvent(deadline(t), ready(t)); err != nil || last.ID != 0 {
		t.Errorf("got %d, %v", last.ID, err)
	}
}

// A relay that crashed before it noted what it published does so again, within the
// stream's duplicate window or long after it.
func TestEventsAgain(t *testing.T) {
	for _, window := range []time.Duration{2 * time.Minute, 0} {
		for _, n := range []int{2, 50, maxBatched + 5} {
			t.Run(fmt.Sprint(window, n), func(t *testing.T) {
				js := eventsWithin(t, window)
				publishAt(t, js, 0, sequenceOf(1, n)...)
				forget(t, js, window)
				var noted []int64
				at := uint64(0)
				for at < lastPlace(t, js) { // as many rounds as it takes
					p := publishAt(t, js, at, sequenceOf(1, n+20)...)
					if p.After != at || p.Last <= at {
						t.Fatalf("behind %d it tells of %d to %d", at, p.After, p.Last)
					}
					noted, at = append(noted, p.IDs...), p.Last
				}
				if !slices.Equal(noted, numbers(1, n)) || !slices.Equal(stored(t, js, "*"), noted) {
					t.Errorf("it found %d events and %d are stored, want %d", len(noted), len(stored(t, js, "*")), n)
				}
				publishAt(t, js, at, sequenceOf(n+1, 20)...)
				if got := stored(t, js, "*"); !slices.Equal(got, numbers(1, n+20)) {
					t.Errorf("%d are stored in the end, want %d", len(got), n+20)
				}
			})
		}
	}
}

// The successor published more while a relay was paused in the middle.
func TestPausedRelay(t *testing.T) {
	for _, n := range []int{1, 100} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			js := eventsWithin(t, 0)
			publishAt(t, js, 0, sequenceOf(1, n)...)
			publishAt(t, js, uint64(n), sequenceOf(n+1, 30)...)
			forget(t, js, 0)
			p := publishAt(t, js, uint64(n), sequenceOf(n+1, 10)...)
			if !slices.Equal(p.IDs, numbers(n+1, 30)) {
				t.Errorf("the paused relay was told of %v", p.IDs)
			}
			if got := stored(t, js, "*"); !slices.Equal(got, numbers(1, n+30)) {
				t.Errorf("stored %v", got)
			}
		})
	}
}

// Of relays that all take themselves for the leader, and note where they are after
// each batch alone, none publishes twice or out of order.
func TestRelaysAtTheSameTime(t *testing.T) {
	js := eventsWithin(t, 0)
	const relays, events = 4, 600
	var wait sync.WaitGroup
	for r := range relays {
		wait.Go(func() {
			at, known := uint64(0), 0
			for known < events {
				p, err := NewEvents(js).Publish(deadline(t), at, sequenceOf(known+1, min(events-known, 5+10*r)))
				if err != nil && p.Last == at {
					continue // somebody was faster still
				}
				known += len(p.IDs)
				at = p.Last
			}
		})
	}
	wait.Wait()
	if got := stored(t, js, "*"); !slices.Equal(got, numbers(1, events)) {
		t.Errorf("%d are stored: %v", len(got), got)
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

// The stream was emptied, made anew, or somebody else wrote into it.
func TestTheStreamIsNotAsItWasLeft(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*testing.T, jetstream.Stream, jetstream.JetStream)
		last   uint64
	}{
		"aged out": {func(t *testing.T, s jetstream.Stream, _ jetstream.JetStream) {
			if err := s.Purge(deadline(t)); err != nil {
				t.Fatal(err)
			}
		}, 2},
		"one removed": {func(t *testing.T, s jetstream.Stream, _ jetstream.JetStream) {
			if err := s.DeleteMsg(deadline(t), 2); err != nil {
				t.Fatal(err)
			}
		}, 2},
		"made anew": {func(t *testing.T, _ jetstream.Stream, js jetstream.JetStream) {
			if err := js.DeleteStream(deadline(t), EventsStream); err != nil {
				t.Fatal(err)
			}
			if err := Setup(deadline(t), js, testLayout()); err != nil {
				t.Fatal(err)
			}
		}, 0},
		"something else": {func(t *testing.T, _ jetstream.Stream, js jetstream.JetStream) {
			if _, err := js.Publish(deadline(t), EventSubject("r"), []byte("not an event")); err != nil {
				t.Fatal(err)
			}
		}, 3},
		"something else, removed": {func(t *testing.T, s jetstream.Stream, js jetstream.JetStream) {
			if _, err := js.Publish(deadline(t), EventSubject("r"), []byte("not an event")); err != nil {
				t.Fatal(err)
			}
			if err := s.DeleteMsg(deadline(t), 3); err != nil {
				t.Fatal(err)
			}
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			js := ready(t)
			publishAt(t, js, 0, event(1, "r"), event(2, "other"))
			stream, err := js.Stream(deadline(t), EventsStream)
			if err != nil {
				t.Fatal(err)
			}
			c.change(t, stream, js)
			p := publishAt(t, js, 2, event(3, "r"))
			if c.last != 2 {
				if len(p.IDs) != 0 || p.Last != c.last {
					t.Fatalf("it tells of %v up to %d, want nothing up to %d", p.IDs, p.Last, c.last)
				}
				p = publishAt(t, js, p.Last, event(3, "r"))
			}
			if fmt.Sprint(p.IDs) != "[3]" || p.Last != c.last+1 {
				t.Errorf("it tells of %v up to %d", p.IDs, p.Last)
			}
		})
	}
}

// Somebody took the right to batches from the stream: events go one by one.
func TestEventsWithoutBatches(t *testing.T) {
	js := ready(t)
	changed := config(t, js, EventsStream)
	changed.AllowAtomicPublish = false
	if _, err := js.UpdateStream(deadline(t), changed); err != nil {
		t.Fatal(err)
	}
	var events []provision.Event
	for n := range int64(100) {
		events = append(events, event(n+1, "r"))
	}
	if p := publishAt(t, js, 0, events...); len(p.IDs) != len(events) || p.Last != uint64(len(events)) {
		t.Errorf("it tells of %d events up to %d, want %d", len(p.IDs), p.Last, len(events))
	}
}

// One request that cannot be published does not hold up the others.
func TestEventsBesideAnError(t *testing.T) {
	for name, limit := range map[string]int32{"larger than the server takes": -1, "larger than the stream takes": 2000} {
		for _, others := range []int{3, 100} {
			t.Run(fmt.Sprint(name, others), func(t *testing.T) {
				js := ready(t)
				huge := event(1, "huge")
				huge.Error = &provision.EventError{Message: strings.Repeat("x", 4000)}
				if limit < 0 {
					huge.Error.Message = strings.Repeat("x", int(js.Conn().MaxPayload()))
				}
				changed := config(t, js, EventsStream)
				changed.MaxMsgSize = limit
				if _, err := js.UpdateStream(deadline(t), changed); err != nil {
					t.Fatal(err)
				}
				events := append([]provision.Event{event(1000, "a"), huge, event(2, "huge")}, sequenceOf(3, others)...)
				p, err := NewEvents(js).Publish(deadline(t), 0, events)
				if err == nil || !strings.Contains(err.Error(), "event 1 of request huge") {
					t.Errorf("error: %v", err)
				}
				want := append([]int64{1000}, numbers(3, others)...)
				if !slices.Equal(p.IDs, want) || !slices.Equal(stored(t, js, "*"), want) || p.Last != uint64(len(want)) {
					t.Errorf("published %v up to %d, stored %v; event 2 must not come before event 1", p.IDs, p.Last, stored(t, js, "*"))
				}
			})
		}
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
	odd := event(1, "a.b c>")
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
