package provision

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestWhoseAListedInstanceIs(t *testing.T) {
	i := Instance{ID: "i", Name: "db-1", Created: "2026-03-01T12:00:00", Tags: map[string]string{TagRequest: "m", TagInstallation: "us"}, Detail: json.RawMessage(`{"id":"i"}`)}
	renamed := i
	renamed.Name = "db-2"
	created := func(at string) Instance {
		c := i
		c.Created = at
		return c
	}
	known := func(s State, change ...func(*MarkFacts)) MarkFacts {
		f := MarkFacts{RequestID: "r", State: s, Name: "db-1", SettledAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
		for _, c := range change {
			c(&f)
		}
		return f
	}
	holds := func(f *MarkFacts) { f.Holds = "other" }
	held := func(f *MarkFacts) { f.Holds = "not listed" }
	uncalled := func(f *MarkFacts) { f.SettledAt = time.Time{} }
	is := func(f *MarkFacts) { f.Recorded = true }
	byAnswer := func(f *MarkFacts) { f.Named = true }
	tests := []struct {
		name    string
		listed  Instance
		facts   MarkFacts
		orphan  bool
		unknown bool
		says    string
	}{
		{"handed out", i, known(Ready, is), false, false, ""},
		{"named by a failed request", i, known(Failed, is), false, false, ""},
		{"recorded for another", i, MarkFacts{Recorded: true}, false, false, ""},
		{"not called for yet", i, known(Pending), false, false, ""},
		{"nobody knows yet what came of the call", i, known(Creating), false, false, ""},
		{"surplus", i, known(Ready, holds), true, false, "which is ready and has other"},
		{"surplus of one that is built", i, known(Building, holds), true, false, "building"},
		{"an answer named it a moment ago", i, known(Building, holds, byAnswer), false, false, ""},
		{"an answer named it, and its request has another", i, known(Ready, holds, byAnswer), true, false, "other"},
		{"came to be after its request had failed", i, known(Failed), true, false, "failed"},
		{"came to be after its request was cancelled", i, known(Cancelled), true, false, "cancelled"},
		{"taken for gone, and listed again", i, known(Cancelled, func(f *MarkFacts) { f.Gone = true }), true, true, "taken for gone"},
		{"an unknown mark", i, MarkFacts{}, true, true, "does not know"},
		{"the tags of another", renamed, known(Ready, holds), true, true, "tags can be copied"},
		{"a copy that was made later", created("2026-03-03T12:00:00"), known(Ready, holds), true, true, "calls cannot have made it"},
		{"a copy of what its request named and left", created("2027-03-01T12:00:00"), known(Failed), true, true, "calls cannot have made it"},
		{"no call of its request was made", i, known(Failed, uncalled), true, true, "calls cannot have made it"},
		{"created in another zone", created("2026-03-02T02:00:00"), known(Ready, holds), true, false, "other"},
		{"created in another dialect", created("2026-03-01 12:00:00+0000"), known(Ready, holds), true, false, "other"},
		{"nobody knows when it was created", created("1 March"), known(Ready, holds), true, true, "calls cannot have made it"},
		{"nor told when", created(""), known(Failed), true, true, "calls cannot have made it"},
		{"what its request had is not there", i, known(Ready, held), true, true, "may have taken its place"},
		{"a request that was pruned", i, known(""), true, true, "pruned"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, orphan := judgeListed(tt.listed, tt.facts, tt.facts.Holds == "other", 7)
			if orphan != tt.orphan || s.Unknown != tt.unknown || !strings.Contains(s.Why, tt.says) {
				t.Fatalf("orphan %v, %+v", orphan, s)
			}
			if orphan && (!json.Valid(s.Evidence) || !strings.Contains(string(s.Evidence), `"round":7`) || !strings.Contains(string(s.Evidence), `"listed":{"id":"i"}`)) {
				t.Errorf("evidence: %s", s.Evidence)
			}
		})
	}
	broken := i
	broken.Detail = json.RawMessage(`{`)
	if s, _ := judgeListed(broken, MarkFacts{}, false, 1); !json.Valid(s.Evidence) {
		t.Errorf("evidence of what is no JSON: %s", s.Evidence)
	}
}

func TestWhatIsReadAgainBeforeADeletion(t *testing.T) {
	o := Orphan{InstanceID: "i", Mark: "m"}
	tags := func(mark, by string) *Instance {
		return &Instance{ID: "i", Tags: map[string]string{TagRequest: mark, TagInstallation: by}}
	}
	if _, still := stillOrphan(o, "us", tags("m", "us")); !still {
		t.Error("nothing changed, and it is not deleted")
	}
	for name, seen := range map[string]*Instance{"another mark": tags("other", "us"), "another installation": tags("m", "them"), "no tags": {ID: "i"}} {
		if d, still := stillOrphan(o, "us", seen); still || !d.Explained || d.Failure == nil {
			t.Errorf("%s: %+v, %v", name, d, still)
		}
	}
	if d, still := stillOrphan(o, "us", nil); still || !d.Gone {
		t.Errorf("it is not there: %+v, %v", d, still)
	}
}

func TestWhatAnAnswerToAnOrphansDeletionMeans(t *testing.T) {
	tests := map[Class]Deletion{
		"":              {Accepted: true, Delay: deletionTime},
		ClassGone:       {Gone: true, Delay: deletionPause},
		ClassBusy:       {Delay: deletionPause},
		ClassServer:     {Delay: deletionPause},
		ClassLost:       {Delay: deletionPause},
		ClassNotSent:    {Delay: time.Minute},
		ClassRate:       {Delay: time.Minute},
		ClassInvalid:    {Refused: true, Delay: deletionPause}, // prepaid
		ClassForbidden:  {Refused: true, Delay: deletionPause},
		ClassNotOffered: {Refused: true, Delay: deletionPause},
	}
	for class, want := range tests {
		var err error
		if class != "" {
			err = &CloudError{Op: "delete", Class: class, Code: "DBS.1", Message: "why"}
		}
		d := afterOrphanDelete(Orphan{InstanceID: "i"}, err)
		if told := d.Failure != nil; told != (class != "" && class != ClassGone) {
			t.Errorf("%s: failure %+v", class, d.Failure)
		}
		d.Failure, want.InstanceID = nil, "i"
		if d != want {
			t.Errorf("%s: %+v, want %+v", class, d, want)
		}
	}
}
