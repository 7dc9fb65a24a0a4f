package chaos

import (
	"strings"
	"testing"
	"time"

	"ddsworker/internal/dds/ddsfake"
)

// good is evidence of one request that was called twice and is ready.
func good() *evidence {
	at := time.Unix(1_700_000_000, 0)
	return &evidence{
		Acked: []string{"a"}, Reused: map[string]int{"a": 1}, Orphans: map[string]string{}, Lease: 5 * time.Second,
		Requests: map[string]*history{"a": {ID: "a", State: "ready", Mark: "m", Rejections: 1,
			Attempts: []attempt{{Number: 1, Outcome: "unknown", Class: "lost", IntendedAt: at},
				{Number: 2, Outcome: "created", IntendedAt: at.Add(time.Minute), CloudRequestID: "c2", InstanceID: "i"}},
			Events: []event{{ID: 1, State: "pending"}, {ID: 2, State: "creating"}, {ID: 3, State: "creating"},
				{ID: 4, State: "building"}, {ID: 5, State: "ready"}},
			Published: []int64{1, 2, 3, 4, 5},
			Instances: []handedOut{{InstanceID: "i"}}}},
		Cloud: []ddsfake.Instance{{ID: "i", Tags: []ddsfake.Tag{{Key: tagRequest, Value: "m"}}}},
		Calls: []createCall{{"m", "c1", at.Add(time.Second)}, {"m", "c2", at.Add(61 * time.Second)}},
	}
}

func TestJudge(t *testing.T) {
	if j := good().judge(); len(j.Findings) > 0 || j.Ends["ready"] != 1 || j.Attempts != 2 || j.Live != 1 {
		t.Errorf("good evidence: %+v", j)
	}
	second := ddsfake.Instance{ID: "i2", Tags: []ddsfake.Tag{{Key: tagRequest, Value: "m"}}}
	for name, c := range map[string]struct {
		spoil func(e *evidence, h *history)
		want  string // empty: no finding
	}{
		"lost":                    {func(e *evidence, _ *history) { e.Acked = append(e.Acked, "b") }, "is not in the database"},
		"open":                    {func(_ *evidence, h *history) { h.State = "creating" }, "has not ended"},
		"twice":                   {func(e *evidence, _ *history) { e.Cloud = append(e.Cloud, second) }, "neither its own nor an orphan"},
		"twice, but recorded":     {func(e *evidence, _ *history) { e.Cloud = append(e.Cloud, second); e.Orphans["i2"] = "m" }, ""},
		"an orphan is handed out": {func(e *evidence, _ *history) { e.Orphans["i"] = "m" }, "recorded as an orphan"},
		"two hold one": {func(e *evidence, h *history) {
			twin := *h
			twin.ID = "b"
			e.Requests["b"] = &twin
		}, "holds too"},
		"somebody else's": {func(e *evidence, _ *history) { e.Cloud[0].Tags = nil }, "and not its own"},
		"never made":      {func(e *evidence, _ *history) { e.Cloud = nil }, "the cloud never made"},
		"deleted":         {func(e *evidence, _ *history) { e.Cloud[0].DeletedAt = &time.Time{} }, "which was deleted"},
		"cancelled, and it lives": {func(_ *evidence, h *history) {
			h.State, h.Instances[0].Gone = "cancelled", true
			h.Events[4].State = "cancelled"
		}, "and its instance i lives"},
		"nothing held":          {func(_ *evidence, h *history) { h.Instances[0].Gone = true }, "holds no instance"},
		"an unexplained call":   {func(_ *evidence, h *history) { h.Attempts = h.Attempts[1:] }, "no attempt explains"},
		"a call that never was": {func(_ *evidence, h *history) { h.Attempts[0].Class = "not_sent" }, "no attempt explains"},
		"a call too early":      {func(e *evidence, _ *history) { e.Calls[0].At = e.Calls[0].At.Add(-time.Minute) }, "no attempt explains"},
		"a call held up":        {func(e *evidence, _ *history) { e.Calls[0].At = e.Calls[0].At.Add(20 * time.Second) }, ""},
		"an unknown mark":       {func(e *evidence, _ *history) { e.Calls = append(e.Calls, createCall{Mark: "x"}) }, "which no request has"},
		"a step that is none":   {func(_ *evidence, h *history) { h.Events[1].State, h.Events[2].State = "pending", "pending" }, "no step of the state machine"},
		"another last event":    {func(_ *evidence, h *history) { h.Events, h.Published = h.Events[:4], h.Published[:4] }, "its last event says"},
		"out of order":          {func(_ *evidence, h *history) { h.Published = []int64{1, 2, 4, 3, 5} }, "the stream has"},
		"told twice":            {func(_ *evidence, h *history) { h.Published = []int64{1, 2, 2, 3, 4, 5} }, "the stream has"},
		"an unrecorded refusal": {func(_ *evidence, h *history) { h.Rejections = 0 }, "0 refusals are recorded"},
	} {
		e := good()
		c.spoil(e, e.Requests["a"])
		j := e.judge()
		switch {
		case c.want == "" && len(j.Findings) > 0:
			t.Errorf("%s: %v, want nothing", name, j.Findings)
		case c.want != "" && (len(j.Findings) == 0 || !strings.Contains(join(j.Findings), c.want)):
			t.Errorf("%s: %v, want %q", name, j.Findings, c.want)
		}
	}
}

func TestALateCallIsCounted(t *testing.T) {
	e := good()
	e.Calls[0].At = e.Calls[0].At.Add(20 * time.Second)
	if late, now := e.judge().Late, good().judge().Late; late != 1 || now != 0 {
		t.Errorf("%d late calls and %d, want 1 and 0", late, now)
	}
}

func join(findings []finding) string {
	var b strings.Builder
	for _, f := range findings {
		b.WriteString(f.What + "\n")
	}
	return b.String()
}
