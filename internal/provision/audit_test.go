package provision

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// wholeList is a cloud with these instances.
type wholeList []Instance

func (l wholeList) ListInstances(context.Context, string, InstanceQuery) (InstancePage, error) {
	return InstancePage{Instances: l, Total: len(l)}, nil
}

// auditBook is a store that knows these marks, and notes what is recorded.
type auditBook struct {
	AuditStore
	facts map[string]MarkFacts
	seen  map[string]Sighting
}

func (b *auditBook) ClaimAudit(context.Context, Served, time.Duration) (AuditClaim, bool, error) {
	return AuditClaim{ProjectID: "p", Round: 1, MarksSeen: true}, true, nil
}

func (b *auditBook) MarkFacts(context.Context, []Instance, time.Time) (map[string]MarkFacts, error) {
	return b.facts, nil
}

func (b *auditBook) RecordSightings(_ context.Context, _ AuditClaim, seen []Sighting) ([]string, error) {
	for _, s := range seen {
		b.seen[s.Instance.ID] = s
	}
	return nil, nil
}

func (b *auditBook) FinishAudit(context.Context, AuditClaim, []string, OrphanRules, error) ([]Orphan, error) {
	return nil, nil
}

func TestWhatAnAuditRecords(t *testing.T) {
	const then = "2026-03-01T12:00:00"
	i := func(id, mark, by string) Instance {
		return Instance{ID: id, Name: "db-1", Created: then, Tags: map[string]string{TagRequest: mark, TagInstallation: by}}
	}
	at, err := time.Parse("2006-01-02T15:04:05", then)
	if err != nil {
		t.Fatal(err)
	}
	ours := MarkFacts{RequestID: "r", State: Ready, Name: "db-1", Holds: "held", SettledAt: at}
	lone, held := ours, ours
	lone.Holds, held.Recorded = "not-listed", true
	b := &auditBook{seen: map[string]Sighting{}, facts: map[string]MarkFacts{
		"held": held, "second": ours, "instead": lone, "unsigned": ours, "another's": ours, "elsewhere": {}, "odd": {}}}
	bare := i("unsigned", "m", "")
	delete(bare.Tags, TagInstallation)
	log := slog.New(slog.DiscardHandler)
	a := Auditor{Cloud: wholeList{i("held", "m", "us"), i("second", "m", "us"), i("instead", "m", "us"), bare,
		i("another's", "m", "them"), i("elsewhere", "x", "them"), i("odd", "x", "us"), {ID: "plain"}},
		Store: b, Installation: "us", Health: NewHealth(log), Log: log}
	if _, err := a.Round(t.Context(), t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"second": "", "instead": "taken its place", "unsigned": "not our installation's name", "odd": "does not know"}
	if got := slices.Sorted(maps.Keys(b.seen)); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("recorded: %v", got)
	}
	for id, why := range want {
		if s := b.seen[id]; s.Unknown != (why != "") || !strings.Contains(s.Why, why) {
			t.Errorf("%s: %+v", id, s)
		}
	}
}
