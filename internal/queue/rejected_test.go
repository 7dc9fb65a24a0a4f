package queue

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
)

func rejection(sequence uint64) provision.Rejection {
	return provision.Rejection{
		RequestID: "order 7", Code: provision.CodeRules, Size: 99, Sequence: sequence,
		ReceivedAt: time.Unix(1, 0), Body: json.RawMessage(`{"name":"a"}`),
		Reasons: provision.Violations{
			{Path: "name", Given: `"a"`, Allowed: "4 to 64 characters\nwithout breaks"},
			{Given: "3 fields", Allowed: "more"},
		},
	}
}

// copies reads all of DDS_REJECTED.
func copies(t *testing.T, js jetstream.JetStream) []*jetstream.RawStreamMsg {
	t.Helper()
	stream, err := js.Stream(deadline(t), RejectedStream)
	if err != nil {
		t.Fatal(err)
	}
	var list []*jetstream.RawStreamMsg
	for seq := range stream.CachedInfo().State.LastSeq {
		msg, err := stream.GetMsg(deadline(t), seq+1)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, msg)
	}
	return list
}

func TestRejectedCopies(t *testing.T) {
	js := ready(t)
	rejected := NewRejected(js, RejectedConfig{})
	rejected.Copy(rejection(1))
	rejected.Copy(rejection(1)) // the same delivery
	withheld := rejection(2)
	withheld.Body, withheld.Reasons = nil, nil
	rejected.Copy(withheld)
	large := rejection(3)
	large.Body = json.RawMessage(`"` + strings.Repeat("x", int(js.Conn().MaxPayload())-10) + `"`)
	large.Reasons[0].Allowed = strings.Repeat("é", 5000)
	rejected.Copy(large)
	rejected.Close() // publishes what waits

	got := copies(t, js)
	if len(got) != 3 || rejected.Dropped() != 0 {
		t.Fatalf("%d copies, %d dropped; want 3 and 0", len(got), rejected.Dropped())
	}
	for name, want := range map[string]string{
		HeaderRequestID:      "order 7",
		HeaderRejectedCode:   "RULES",
		HeaderRejectedReason: `name: given "a"; allowed: 4 to 64 characters without breaks | given 3 fields; allowed: more`,
		HeaderBodySize:       "99",
		HeaderStreamSequence: "1",
		HeaderBodyWithheld:   "",
	} {
		if value := got[0].Header.Get(name); value != want {
			t.Errorf("header %s is %q, want %q", name, value, want)
		}
	}
	if string(got[0].Data) != `{"name":"a"}` {
		t.Errorf("body %s", got[0].Data)
	}
	if h := got[1].Header; !strings.Contains(h.Get(HeaderBodyWithheld), "not JSON") || h.Get(HeaderRejectedReason) != "RULES" || len(got[1].Data) != 0 {
		t.Errorf("withheld: %v %s", h, got[1].Data)
	}
	if h := got[2].Header; h.Get(HeaderBodyWithheld) == "" || len(h.Get(HeaderRejectedReason)) > maxReason || len(got[2].Data) != 0 {
		t.Errorf("large: %d bytes of reasons, %d of body", len(h.Get(HeaderRejectedReason)), len(got[2].Data))
	}
}

// Copies are never in the way, even when nobody takes them.
func TestRejectedCopiesThatNobodyTakes(t *testing.T) {
	js := connect(t, "") // no stream
	rejected := NewRejected(js, RejectedConfig{Buffer: 2, Timeout: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	const sent = 50
	for n := range uint64(sent) {
		rejected.Copy(rejection(n))
	}
	// One is being published and two wait; all others found no room.
	if dropped := rejected.Dropped(); dropped < sent-4 {
		t.Errorf("%d of %d were dropped", dropped, sent)
	}
	rejected.Close()
	if dropped := rejected.Dropped(); dropped != sent {
		t.Errorf("%d of %d are counted as dropped after Close", dropped, sent)
	}
}
