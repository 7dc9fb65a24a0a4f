package provision

import "testing"

// What is told of a request is where its events lead, without those that are not its
// own.
func TestWhatTheEventsTell(t *testing.T) {
	at := func(kind string, state State, instance string) Event {
		return Event{Kind: kind, State: state, InstanceID: instance}
	}
	tests := []struct {
		name   string
		events []Event
		want   Told // State empty: nothing is told
	}{
		{"built", []Event{at("accepted", Pending, ""), at("creating", Creating, ""), at("building", Building, "i"), at("ready", Ready, "i")}, Told{State: Ready, InstanceID: "i"}},
		{"an orphan of it", []Event{at("ready", Ready, "i"), at(KindOrphan, Ready, "j")}, Told{State: Ready, InstanceID: "i"}},
		{"a refusal under its id", []Event{at("creating", Creating, ""), at("rejected", Rejected, "")}, Told{State: Creating}},
		{"being cancelled", []Event{at("building", Building, "i"), at("cancelling", Building, "")}, Told{State: Building, InstanceID: "i", Cancelling: true}},
		{"being deleted", []Event{at("deleting", Building, "i")}, Told{State: Building, InstanceID: "i", Cancelling: true}},
		{"retried after it", []Event{at("cancelling", Building, ""), at("failed", Failed, "i"), at("retried", Pending, "")}, Told{State: Pending, InstanceID: "i"}},
		{"retried, and its instance is gone", []Event{at("building", Building, "i"), at("retried", Pending, ""), at("looked", Pending, "i")}, Told{State: Pending}},
		{"lost in an earlier recovery", []Event{at("ready", Ready, "i"), at("lost", Rejected, "i")}, Told{}},
		{"and published again", []Event{at("ready", Ready, "i"), at("lost", Rejected, "i"), at("accepted", Pending, "")}, Told{State: Pending}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r Recovery
			for n, e := range tt.events {
				e.ID = int64(n + 1)
				r.Add(e, false)
			}
			var got Told
			for _, told := range r.Told() {
				got = Told{State: told.State, InstanceID: told.InstanceID, Cancelling: told.Cancelling}
			}
			if got != tt.want || r.Last() != int64(len(tt.events)) {
				t.Errorf("told %+v, want %+v", got, tt.want)
			}
		})
	}
}
