package queue

import (
	"errors"
	"fmt"
	"testing"

	"ddsworker/internal/provision"
)

func TestWhoseTheStreamsAre(t *testing.T) {
	js := connect(t, "")
	whose := func() string {
		t.Helper()
		all, err := Identities(t.Context(), js)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(all)
	}
	if got := whose(); got != "[{DDS_REQUESTS  } {DDS_REJECTED  } {DDS_EVENTS  }]" {
		t.Errorf("without streams: %s", got)
	}
	l := testLayout()
	if err := Setup(t.Context(), js, l); err != nil { // as before there were epochs
		t.Fatal(err)
	}
	l.Epoch = 1
	if err := Setup(t.Context(), js, l); err != nil {
		t.Fatal(err)
	}
	if got := whose(); got != "[{DDS_REQUESTS here 1} {DDS_REJECTED here 1} {DDS_EVENTS here 1}]" {
		t.Errorf("after Setup: %s", got)
	}
	next := l
	next.Epoch = 2
	for name, err := range map[string]error{"Setup": Setup(t.Context(), js, next), "Check": Check(t.Context(), js, next)} {
		if foreign, ok := errors.AsType[*ForeignError](err); !ok || !foreign.Epoch || foreign.Have != "1" || foreign.Want != "2" {
			t.Errorf("%s of another epoch: %v", name, err)
		}
	}
	if err := js.DeleteStream(t.Context(), RejectedStream); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Adopt(t.Context(), js, next), Setup(t.Context(), js, next)); err != nil {
		t.Fatal(err)
	}
	if got := whose(); got != "[{DDS_REQUESTS here 2} {DDS_REJECTED here 2} {DDS_EVENTS here 2}]" {
		t.Errorf("after Adopt: %s", got)
	}
}

// What is read ends with what was there, and leaves out what is nobody's.
func TestEachEvent(t *testing.T) {
	js := connect(t, "")
	var read []int64
	each := func() {
		t.Helper()
		read = nil
		if err := EachEvent(deadline(t), js, func(e provision.Event) error { read = append(read, e.ID); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	each()
	if err := Setup(t.Context(), js, testLayout()); err != nil {
		t.Fatal(err)
	}
	each()
	if len(read) != 0 {
		t.Errorf("an empty stream has %v", read)
	}
	put(t, js, event(3, "a"), event(4, "b"))
	if _, err := js.Publish(t.Context(), "dds.events.c", []byte("no event")); err != nil {
		t.Fatal(err)
	}
	if last, err := LastEvent(deadline(t), js); err != nil || last.ID != 0 {
		t.Errorf("what cannot be read is taken for event %d, %v", last.ID, err)
	}
	put(t, js, event(5, "d"))
	each()
	if fmt.Sprint(read) != "[3 4 5]" {
		t.Errorf("read %v, want 3, 4 and 5", read)
	}
}
