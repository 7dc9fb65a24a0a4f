package provision

import (
	"errors"
	"strings"
	"testing"
)

func TestWhichDatabaseMayAct(t *testing.T) {
	home := Identity{Installation: "us", Epoch: 2, Home: "1/5", Here: "1/5", Timeline: "1", TimelineHere: "1", KnowsLast: true}
	change := func(do func(*Identity)) Identity { i := home; do(&i); return i }
	moved := change(func(i *Identity) { i.TimelineHere = "2" })
	ours := []StreamIdentity{{"R", "us", "2"}, {"E", "us", "2"}}
	silent := []StreamIdentity{{Stream: "R"}, {Stream: "E"}}
	tests := []struct {
		name    string
		db      Identity
		streams []StreamIdentity
		last    int64
		says    string // in the error; none: it may act
	}{
		{"as it was", home, ours, 70, ""},
		{"events that are not published yet", home, ours, 50, ""},
		{"the first start", change(func(i *Identity) { i.Home, i.Timeline = "", "" }), nil, 0, ""},
		{"streams from before there were epochs", home, []StreamIdentity{{"R", "us", ""}}, 70, ""},
		{"streams that were deleted or made again", home, silent, 0, ""},
		{"a replica took over and nothing is lost", moved, ours, 70, ""},
		{"a replica took over and something is lost", change(func(i *Identity) { i.TimelineHere, i.KnowsLast = "2", false }), ours, 71, "event 71"},
		{"a timeline that nobody vouches for", moved, silent, 0, "timeline 1 to 2"},
		{"another server", change(func(i *Identity) { i.Here = "9/5" }), ours, 70, "restored or copied"},
		{"a copy in the same server", change(func(i *Identity) { i.Here = "1/6" }), silent, 0, "1/6"},
		{"somebody else's streams", home, []StreamIdentity{{Stream: "R"}, {"E", "them", "2"}}, 70, `installation "them"`},
		{"a first start beside somebody else's streams", change(func(i *Identity) { i.Home = "" }), []StreamIdentity{{"E", "them", "1"}}, 0, "them"},
		{"an older epoch", change(func(i *Identity) { i.Epoch = 1 }), ours, 70, `epoch "2"`},
		{"streams that were not told of a recovery", change(func(i *Identity) { i.Epoch = 3 }), ours, 70, "at 3"},
		{"one stream of another epoch", home, []StreamIdentity{{"R", "us", "2"}, {"E", "us", "1"}}, 70, "stream E"},
		{"an epoch that is none", home, []StreamIdentity{{"R", "us", "two"}}, 70, "two"},
		{"restored in its place", change(func(i *Identity) { i.KnowsLast = false }), ours, 70, "event 70"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := JudgeStanding(tt.db, tt.streams, tt.last)
			if tt.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if _, ok := errors.AsType[*StandingError](err); !ok || !strings.Contains(err.Error(), tt.says) ||
				!strings.Contains(err.Error(), "`worker recover`") || !strings.Contains(err.Error(), "`worker adopt --as-new`") {
				t.Errorf("got %v, want it to say %q and the ways out", err, tt.says)
			}
		})
	}
}
