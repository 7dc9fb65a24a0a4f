package provision

import (
	"math"
	"testing"
	"time"
)

func TestALifeTableKnowsWhenBuildsEnd(t *testing.T) {
	var table lifeTable
	for n := range 200 { // they end evenly between 8 and 13 minutes
		end := 8*time.Minute + time.Duration(n)*1500*time.Millisecond
		table.see(0, end-5*time.Second, false)
		table.see(end-5*time.Second, end+5*time.Second, true)
	}
	if n := table.ended(); math.Abs(n-200) > 0.01 {
		t.Errorf("%v ended, want 200", n)
	}
	c := table.hazards(documented(5*time.Minute, 20*time.Minute)).curve()
	for _, tt := range []struct {
		from, to    time.Duration
		least, most float64
	}{
		{0, 7 * time.Minute, 0, 0.02},
		{8 * time.Minute, 10*time.Minute + 30*time.Second, 0.35, 0.65},
		{0, 14 * time.Minute, 0.9, 1},
	} {
		if p := c.between(tt.from, tt.to); p < tt.least || p > tt.most {
			t.Errorf("between %v and %v %.3f end, want %v to %v", tt.from, tt.to, p, tt.least, tt.most)
		}
	}
	if at := c.reaches(0.05); at < 7*time.Minute || at > 9*time.Minute {
		t.Errorf("the first ones end at %v", at)
	}
}

func TestSpansOfAgeAreWithoutGaps(t *testing.T) {
	for age := 10 * time.Millisecond; age < 5*time.Hour; age += age/7 + time.Millisecond {
		if n := spanOf(age.Seconds()); age.Seconds() < lifeBounds[n] || age.Seconds() >= lifeBounds[n+1] {
			t.Fatalf("%v is in span %d, from %v to %v", age, n, lifeBounds[n], lifeBounds[n+1])
		}
	}
}

func TestWhenToLookNext(t *testing.T) {
	p := DefaultPolicy()
	var table lifeTable
	for range 200 {
		table.see(0, 590*time.Second, false)
		table.see(590*time.Second, 610*time.Second, true)
	}
	known := expected{table.hazards(documented(p.UsualMin, p.UsualMax)).curve(), true}
	unknown := expected{documented(p.UsualMin, p.UsualMax).curve(), false}
	for _, tt := range []struct {
		name        string
		builds      expected
		age         time.Duration
		least, most time.Duration
	}{
		{"just begun, nothing known", unknown, 0, p.PollInterval, p.PollInterval},
		{"young, nothing known", unknown, time.Minute, 7 * time.Second, 21 * time.Second},
		{"may end, nothing known", unknown, 10 * time.Minute, 8 * time.Second, 18 * time.Second},
		{"just begun", known, 0, 50 * time.Second, 60 * time.Second},
		{"long before its end", known, 4 * time.Minute, 2 * time.Minute, 3 * time.Minute},
		{"at its end", known, 600 * time.Second, 8 * time.Second, 9 * time.Second},
		{"late", known, 40 * time.Minute, 2 * time.Minute, longestGap},
		{"very late", known, 110 * time.Minute, longestGap, longestGap},
	} {
		if gap := p.gap(tt.builds, tt.age); gap < tt.least || gap > tt.most {
			t.Errorf("%s: the next look comes after %v, want %v to %v", tt.name, gap, tt.least, tt.most)
		}
	}
}

// Looks at builds of the same age come together, in the order of their creation.
func TestLooksComeTogether(t *testing.T) {
	p := DefaultPolicy()
	builds := expected{documented(p.UsualMin, p.UsualMax).curve(), true}
	now := time.Unix(1_800_000_000, 0).Truncate(p.sweep()).Add(500 * time.Millisecond)
	first := p.nextLook(builds, now, 10*time.Minute)
	for n := range 5 {
		later := now.Add(time.Duration(n) * 300 * time.Millisecond)
		due := later.Add(p.nextLook(builds, later, 10*time.Minute+time.Duration(n)*time.Second)).Sub(now)
		if due > first || first-due > time.Second {
			t.Errorf("an older one is due after %v, the first after %v", due, first)
		}
	}
}
