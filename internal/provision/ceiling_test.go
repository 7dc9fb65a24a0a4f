package provision

import (
	"math"
	"testing"
	"time"
)

// learnFrom simulates a fleet that wants much and a cloud that allows so many calls
// in each second of its own, counts what it refuses, and is heard of late.
func learnFrom(allowed func(time.Duration) float64, d, settle, late time.Duration) (rate, refused float64) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var c Ceiling
	const step = 100 * time.Millisecond
	type news struct {
		at            time.Duration
		sent, refused int
	}
	var waiting []news
	due, window, sum, no := 0.0, 0, 0, 0
	for at := time.Duration(0); at < d; at += step {
		if at%time.Second == 0 {
			window = 0
		}
		now := began.Add(at)
		pace := c.At(now)
		if pace == 0 {
			pace = 300
		}
		due += pace * step.Seconds()
		n := news{at: at + late}
		for ; due >= 1; due-- {
			n.sent++
			if window++; float64(window) > allowed(at) {
				n.refused++
			}
		}
		waiting = append(waiting, n)
		for len(waiting) > 0 && waiting[0].at <= at {
			c.Count(now, waiting[0].sent, waiting[0].refused, 0)
			waiting = waiting[1:]
		}
		if at >= settle {
			sum, no = sum+n.sent, no+n.refused
		}
	}
	return float64(sum-no) / (d - settle).Seconds(), float64(no) / float64(sum)
}

func TestTheCeilingSettlesBelowWhatTheCloudAllows(t *testing.T) {
	for _, allowed := range []float64{5, 20, 50, 200} {
		rate, refused := learnFrom(func(time.Duration) float64 { return allowed }, 3*time.Minute, 15*time.Second, 300*time.Millisecond)
		t.Logf("of %.0f: %.1f a second, %.2f %% refused", allowed, rate, 100*refused)
		if rate < 0.6*allowed || refused > 0.02 {
			t.Errorf("of %.0f: %.1f a second, %.1f %% refused", allowed, rate, 100*refused)
		}
	}
	rate, refused := learnFrom(func(at time.Duration) float64 { // it may be called faster again
		if at < time.Minute {
			return 10
		}
		return 100
	}, 6*time.Minute, 4*time.Minute, 300*time.Millisecond)
	if rate < 60 || refused > 0.02 {
		t.Errorf("after a change for the better: %.1f a second of 100, %.1f %% refused", rate, 100*refused)
	}
}

func TestWhatARefusalTeaches(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var c Ceiling
	c.Count(now, 40, 0, 0)
	if c.At(now) != 0 {
		t.Error("a ceiling without a refusal")
	}
	c.Count(now, 20, 10, 0)
	if rate := c.At(now); rate != 50 || !c.Since.Equal(now) {
		t.Errorf("after the first refusal with 50 let through: %.1f", rate)
	}
	c.Count(now.Add(500*time.Millisecond), 20, 10, 0)
	if c.Rate != 50 {
		t.Errorf("a refusal of a call before the cut cuts again: %.1f", c.Rate)
	}
	c.Count(now.Add(2*time.Second), 30, 20, 5*time.Second)
	if c.Rate != 10 {
		t.Errorf("20 calls were accepted in 2 s, and the ceiling is %.1f", c.Rate)
	}
	if hold := c.Hold.Sub(now); hold != 7*time.Second {
		t.Errorf("held for %v", hold)
	}
	c.Count(now.Add(2*time.Second), 1, 1, 24*time.Hour)
	if hold := c.Hold.Sub(now); hold > 2*time.Minute {
		t.Errorf("a Retry-After of a day is believed: %v", hold)
	}
	last := 0.0
	for at := 2 * time.Second; at < forgetAfter; at += time.Second { // it rises without a step back
		if rate := c.At(now.Add(at)); rate < last || math.IsInf(rate, 0) {
			t.Fatalf("after %v it falls from %.2f to %.2f", at, last, rate)
		} else {
			last = rate
		}
	}
	if rate := c.At(now.Add(time.Hour)); rate != 0 {
		t.Errorf("an hour later it is still %.1f", rate)
	}
	c = Ceiling{Rate: 60, Cut: now, Refused: now} // nothing was accepted since: a busy machine counts its answers late
	c.Count(now.Add(2*time.Second), 1, 1, 0)
	if c.Rate < 6 || c.Rate > 12 {
		t.Errorf("one refusal after a cut to 60 a second makes it %.1f", c.Rate)
	}
	c = Ceiling{}
	for at := time.Duration(0); at < time.Hour; at += time.Second {
		c.Count(now.Add(at), 1, 1, 0)
	}
	if rate := c.At(now.Add(time.Hour)); rate < minCeiling {
		t.Errorf("where everything is refused nobody tries again: %.3f", rate)
	}
}
