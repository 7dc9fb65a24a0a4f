package chaos

import (
	"slices"
	"testing"
	"time"
)

// The short form of "make chaos": everything is broken at least once.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute: not with -short")
	}
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	err := Run(t.Context(), Config{Seed: seed, Requests: 150, Faults: 20, Hide: 1, Workers: 3, Span: 10 * time.Second, Limit: 5 * time.Minute, Out: t.Output()})
	if err != nil {
		t.Error(err)
	}
}

func TestScheduleComesFromItsSeed(t *testing.T) {
	draw := func(seed uint64) []fault {
		return schedule(seed, 200, 4, time.Minute, 5*time.Second, map[kind]int{revokeTokens: 2, hideInstance: 1})
	}
	all := draw(1)
	if !slices.Equal(all, draw(1)) {
		t.Error("the same seed gives another schedule")
	}
	if slices.Equal(all, draw(2)) {
		t.Error("another seed gives the same schedule")
	}
	counts := map[kind]int{}
	for n, f := range all {
		counts[f.Kind]++
		if f.At < 0 || f.At >= time.Minute || f.Whom < 0 || f.Whom >= 4 || n > 0 && f.At < all[n-1].At {
			t.Errorf("fault %d: %+v", n, f)
		}
	}
	if len(all) != 203 || counts[revokeTokens] != 2 || counts[hideInstance] != 1 {
		t.Errorf("%d faults: %v", len(all), counts)
	}
	for _, s := range shares(5 * time.Second) {
		if counts[s.kind] == 0 {
			t.Errorf("nobody would %s", s.kind)
		}
	}
}
