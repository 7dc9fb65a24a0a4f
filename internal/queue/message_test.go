package queue

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"
)

func TestHeaders(t *testing.T) {
	tests := []struct {
		name    string
		headers nats.Header
		id      string // empty: a derived one
		project string
		by      string
		trace   string
		problem string // empty: none
	}{
		{name: "none"},
		{
			name: "all",
			headers: nats.Header{
				"Nats-Msg-Id": {"order 7"}, "Dds-Project-Id": {"p1"},
				"Dds-Requested-By": {"李雷"}, "traceparent": {"00-ab-cd-01"},
			},
			id: "order 7", project: "p1", by: "李雷", trace: "00-ab-cd-01",
		},
		{
			name:    "other spellings",
			headers: nats.Header{"nats-msg-id": {"a"}, "DDS-PROJECT-ID": {"p"}, "Traceparent": {"t"}},
			id:      "a", project: "p", trace: "t",
		},
		{name: "the documented spelling wins", headers: nats.Header{"NATS-MSG-ID": {"b"}, "Nats-Msg-Id": {"c"}}, id: "c"},
		{name: "longest id", headers: nats.Header{"Nats-Msg-Id": {strings.Repeat("x", 128)}}, id: strings.Repeat("x", 128)},
		{name: "id too long", headers: nats.Header{"Nats-Msg-Id": {strings.Repeat("x", 129)}}, problem: "Nats-Msg-Id has 129 bytes"},
		{name: "id empty", headers: nats.Header{"Nats-Msg-Id": {""}}, problem: "Nats-Msg-Id is empty"},
		{name: "id not ASCII", headers: nats.Header{"Nats-Msg-Id": {"é"}}, problem: "not printable ASCII"},
		{name: "id with a control character", headers: nats.Header{"Nats-Msg-Id": {"a\tb"}}, problem: "not printable ASCII"},
		{
			name:    "two problems, and the rest is kept",
			headers: nats.Header{"Nats-Msg-Id": {"d"}, "Dds-Project-Id": {strings.Repeat("p", 257)}, "Dds-Requested-By": {"\xff"}},
			id:      "d", problem: "Dds-Project-Id has 257 bytes; allowed are 256; header Dds-Requested-By is not UTF-8",
		},
		{name: "unprintable", headers: nats.Header{"traceparent": {"a\x00"}}, problem: "cannot be printed"},
	}
	js := ready(t)
	i := inbox(t, js, InboxConfig{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ack, err := js.PublishMsg(deadline(t), &nats.Msg{Subject: RequestsSubject, Header: tt.headers, Data: []byte("{}")})
			if err != nil {
				t.Fatal(err)
			}
			m := receive(t, i, 1)[0]
			if err := m.Settle.Ack(); err != nil {
				t.Fatal(err)
			}
			want := tt.id
			if want == "" {
				want = derivedID(m.ReceivedAt, ack.Sequence)
			}
			if m.ID != want || m.ProjectID != tt.project || m.RequestedBy != tt.by || m.Traceparent != tt.trace {
				t.Errorf("got id %q project %q by %q trace %q", m.ID, m.ProjectID, m.RequestedBy, m.Traceparent)
			}
			if (m.Problem == "") != (tt.problem == "") || !strings.Contains(m.Problem, tt.problem) {
				t.Errorf("problem %q, should say %q", m.Problem, tt.problem)
			}
			if m.Sequence != ack.Sequence || string(m.Body) != "{}" {
				t.Errorf("got sequence %d and body %s", m.Sequence, m.Body)
			}
		})
	}
}

func TestDerivedIDsAreIDs(t *testing.T) {
	for _, at := range []time.Time{time.Unix(0, 1), time.Now(), time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if problem := checkID(derivedID(at, 1<<63)); problem != "" {
			t.Errorf("%s %s", derivedID(at, 1<<63), problem)
		}
	}
}

func TestDerivedIDStaysAtRedelivery(t *testing.T) {
	js := ready(t)
	i := inbox(t, js, InboxConfig{})
	publish(t, js, "")
	first := receive(t, i, 1)[0]
	if err := first.Settle.Nak(0); err != nil {
		t.Fatal(err)
	}
	second := receive(t, i, 1)[0]
	if first.ID != second.ID || !strings.HasPrefix(first.ID, "auto-") || !strings.HasSuffix(first.ID, "-1") {
		t.Errorf("deliveries of one message are called %q and %q", first.ID, second.ID)
	}
}

func TestDerivedIDIsNewInANewStream(t *testing.T) {
	js := ready(t)
	i := inbox(t, js, InboxConfig{Prepare: prepare(js)})
	publish(t, js, "")
	first := receive(t, i, 1)[0]
	remake(t, js)
	publish(t, js, "")
	second := receive(t, i, 1)[0]
	if first.Sequence != second.Sequence {
		t.Fatalf("sequences %d and %d: the test proves nothing", first.Sequence, second.Sequence)
	}
	if first.ID == second.ID {
		t.Errorf("two messages are called %q", first.ID)
	}
}

func TestOneLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		limit := rapid.IntRange(3, 40).Draw(t, "limit")
		got := oneLine(text, limit)
		if len(got) > limit || strings.ContainsAny(got, "\r\n") || !utf8.ValidString(got) {
			t.Fatalf("oneLine(%q, %d) = %q", text, limit, got)
		}
	})
}
