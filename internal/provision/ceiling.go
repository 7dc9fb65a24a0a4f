package provision

import (
	"math"
	"time"
)

// Ceiling is how fast the cloud lets the fleet call a scope, as learnt from its
// 429s: a refusal lowers it at once, and without one it rises step by step, quickly
// far below where the cloud refused last and slowly near it.
type Ceiling struct {
	Rate    float64   // calls a second at Cut; 0: nothing is known
	Seen    float64   // calls a second at which the cloud refused; 0: not found yet
	Cut     time.Time // when it was lowered
	Refused time.Time // the last 429
	Since   time.Time // the first of them
	Hold    time.Time // the cloud asked for no call before

	Sent     float64   // calls that were sent and not refused, each forgotten within a second or so
	SentAt   time.Time // when Sent was counted
	Accepted int       // calls since Cut that were not refused
}

// The steps. A cut takes back what ten or more seconds of slow growth gave, so that
// of the calls of a second only those beyond the limit are refused, once in that time.
const (
	cutBack     = 0.9  // of what was seen to work
	deepestCut  = 0.1  // of the ceiling: where answers are late little seems to have passed
	quickGrowth = 0.1  // a second, of the rate, up to near
	blindGrowth = 0.2  // a second, of the rate, where no limit was found yet
	near        = 0.8  // of Seen
	slowGrowth  = 0.01 // a step, of Seen
	laterGrowth = 0.03 // a step, of the rate, once a limit that had not changed would have shown
	slowSteps   = 15
	stepCalls   = 20 // a step is a second, or as long as so many calls take
	maxStep     = 10.0

	minCeiling   = 0.2 // calls a second: somebody has to find out whether it works again
	forgetAfter  = 10 * time.Minute
	sameRefusal  = time.Second             // refusals that follow a cut so soon are of calls before it
	tooMuchFor   = 2500 * time.Millisecond // and those that follow so soon say that it was not enough
	maxHold      = time.Minute
	forgetSentIn = time.Second
)

// At returns the ceiling in calls a second; 0: none is known.
func (c Ceiling) At(now time.Time) float64 {
	if c.Rate == 0 || now.Sub(c.Refused) > forgetAfter {
		return 0
	}
	elapsed := max(0, now.Sub(c.Cut).Seconds())
	if c.Seen == 0 {
		return c.Rate * math.Pow(1+blindGrowth, elapsed)
	}
	rate := c.Rate
	if rate < near*c.Seen {
		quick := math.Log(near*c.Seen/rate) / math.Log(1+quickGrowth)
		if elapsed < quick {
			return rate * math.Pow(1+quickGrowth, elapsed)
		}
		rate, elapsed = near*c.Seen, elapsed-quick
	}
	steps := elapsed / min(max(1, stepCalls/c.Seen), maxStep)
	rate += c.Seen * slowGrowth * min(steps, slowSteps)
	return rate * math.Pow(1+laterGrowth, max(0, steps-slowSteps))
}

// Count learns from calls that were answered: how many were sent, and how many of
// them refused.
func (c *Ceiling) Count(now time.Time, sent, refused int, retryAfter time.Duration) {
	c.Sent = c.Sent*math.Exp(-max(0, now.Sub(c.SentAt).Seconds())/forgetSentIn.Seconds()) + float64(sent-refused)
	c.Sent, c.SentAt = max(0, c.Sent), now // a refusal may be counted after its call
	c.Accepted += sent - refused
	if refused == 0 {
		return
	}
	if hold := now.Add(min(retryAfter, maxHold)); retryAfter > 0 && hold.After(c.Hold) {
		c.Hold = hold
	}
	rate, sentRate := c.At(now), c.Sent/forgetSentIn.Seconds()
	if rate == 0 {
		c.Since, c.Seen = now, 0
	}
	c.Refused = now
	switch elapsed := now.Sub(c.Cut); {
	case rate == 0:
		rate = sentRate // a low guess: it came from nothing within a second
	case elapsed < sameRefusal:
		return
	default:
		passed := float64(max(0, c.Accepted)) / elapsed.Seconds()
		if elapsed < tooMuchFor && rate > 2*passed { // by far: find the limit anew, from below
			c.Seen, rate = 0, max(passed, deepestCut*rate)
			break
		}
		c.Seen = max(min(rate, 1.1*sentRate), minCeiling)
		rate = cutBack * c.Seen
	}
	c.Rate, c.Cut, c.Accepted = max(rate, minCeiling), now, 0
}
