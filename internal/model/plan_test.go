package model

import (
	"fmt"
	"time"

	"pgregory.net/rapid"
)

// plan is what befalls one run, as far as it is decided before.
type plan struct {
	Seed      uint64 // of the dice
	Workers   int
	Tags      bool // the cloud shows tags; else names are unique
	JobList   bool
	Limited   bool // there is a rate budget
	Lag       time.Duration
	Cloud     float64 // chance that a create call goes wrong
	Database  float64 // chance that a statement does
	Permanent float64 // chance that a call is refused for good
	JobFails  float64
	Requests  []planned
	Events    []happening
}

// planned is a request that is published.
type planned struct {
	At      time.Duration
	Name    int // requests may share one
	Project int
	Prepaid bool
}

// happening is what happens at a time: to a worker, or to a request.
type happening struct {
	At    time.Duration
	What  string
	Which int           // of the workers, or of the requests
	N     int           // moments until a death
	For   time.Duration // of a pause, or a jump of the clock
}

// The kinds of happenings.
const (
	death   = "death"
	pause   = "pause"
	jump    = "jump"
	again   = "published again"
	another = "another body"
	cancel  = "cancel"
	retry   = "retry"
)

// calmAt is when nothing happens any more, and everything comes to its end.
const calmAt = 15 * time.Minute

func durations(low, high time.Duration) *rapid.Generator[time.Duration] {
	return rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.Int64Range(int64(low/time.Millisecond), int64(high/time.Millisecond)).Draw(t, "ms")) * time.Millisecond
	})
}

// plans draws a plan. Jumps of the database's clock stay far below the visibility
// window, and so does the lag of lists: beyond it nothing can be promised.
func plans(people bool) *rapid.Generator[plan] {
	return rapid.Custom(func(t *rapid.T) plan {
		p := plan{
			Seed:     rapid.Uint64().Draw(t, "seed"),
			Workers:  rapid.IntRange(1, 3).Draw(t, "workers"),
			Tags:     rapid.IntRange(0, 3).Draw(t, "tags") > 0,
			JobList:  rapid.Bool().Draw(t, "job list"),
			Limited:  rapid.IntRange(0, 3).Draw(t, "limited") == 0,
			Lag:      durations(0, 20*time.Second).Draw(t, "lag"),
			Cloud:    rapid.SampledFrom([]float64{0.5, 0.9, 0.2, 0}).Draw(t, "cloud"),
			Database: rapid.SampledFrom([]float64{0.01, 0.05, 0}).Draw(t, "database"),
		}
		if people && rapid.Bool().Draw(t, "failures") || rapid.IntRange(0, 7).Draw(t, "more failures") == 7 {
			p.Permanent, p.JobFails = 0.05, 0.3
		}
		p.Requests = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) planned {
			return planned{At: durations(0, 2*time.Minute).Draw(t, "at"), Name: rapid.IntRange(0, 5).Draw(t, "name"),
				Project: rapid.IntRange(0, 1).Draw(t, "project"), Prepaid: p.Tags && rapid.IntRange(0, 7).Draw(t, "prepaid") == 0}
		}), 2, 8).Draw(t, "requests")
		kinds := []string{death, death, death, pause, pause, jump, again, another}
		if people {
			kinds = append(kinds, cancel, cancel, cancel, retry, retry, retry, retry)
		}
		p.Events = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) happening {
			h := happening{At: durations(0, calmAt-2*time.Minute).Draw(t, "at"), What: rapid.SampledFrom(kinds).Draw(t, "what"),
				Which: rapid.IntRange(0, 7).Draw(t, "which"), N: rapid.IntRange(1, 40).Draw(t, "moments")}
			switch h.What {
			case cancel:
				h.At = p.Requests[h.Which%len(p.Requests)].At + durations(0, 90*time.Second).Draw(t, "after")
			case pause:
				h.For = durations(time.Second, time.Minute).Draw(t, "for")
			case jump:
				h.For = durations(-time.Minute, 20*time.Second).Draw(t, "for")
			}
			return h
		}), 10, 60).Draw(t, "events")
		return p
	})
}

func (h happening) String() string {
	return fmt.Sprintf("%v: %s %d (%d moments, %v)", h.At, h.What, h.Which, h.N, h.For)
}
