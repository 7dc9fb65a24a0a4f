package provision

import "time"

// This file decides when to look at an instance being built: pure functions, no I/O.

// sweep is the longest time between two looks while builds are expected to end: what
// ends in it is seen after half of it, so a little less than twice the delay that is
// aimed at leaves something for the look itself.
func (p Policy) sweep() time.Duration { return max(p.PollInterval, p.DetectionTarget*17/10) }

// pace is the time between two looks at something of that age, while it may end at
// any time: what is young is looked at more often, because it may be quick.
func (p Policy) pace(age time.Duration) time.Duration {
	return min(max(p.PollInterval, age/8), p.sweep())
}

// Shares of the builds that go on.
const (
	// worthALook is the share of builds that may have ended before they are looked at
	// again.
	worthALook = 0.01
	// mostEnded: 95 % have ended, and what goes on is late.
	mostEnded = 3.0
)

// longestGap bounds the time between two looks at a build that is late.
const longestGap = 5 * time.Minute

// gap is the time until the next look at a build of that age.
func (p Policy) gap(builds expected, age time.Duration) time.Duration {
	c := builds.curve
	next := c.reaches(c.at(age)+worthALook) - age
	if builds.isLate(age) {
		next = min(max(next, (age-c.reaches(mostEnded))/4), longestGap)
	} else {
		// However long builds have always taken: now they may be quicker.
		next = min(next, max(p.UsualMin/5, age*3/4))
	}
	switch { // without experience anything may be
	case builds.seen:
	case age < p.UsualMin:
		next = min(next, max(p.PollInterval, age/3))
	case !builds.isLate(age):
		next = min(next, 2*p.sweep())
	}
	return max(next, p.pace(age))
}

// isLate reports whether hardly any build takes so long.
func (e expected) isLate(age time.Duration) bool { return e.curve.at(age) > mostEnded }

// nextLook is the delay until the next look at a build of that age. Looks are put
// together, because one page tells about a hundred instances that were created one
// after the other: they come at the same multiples of a time for all builds, and
// within the sweep in the order of creation, in which the cloud lists them too. Where
// looks come more often than that, they come as the builds were created: so the work is
// spread evenly.
func (p Policy) nextLook(builds expected, now time.Time, age time.Duration) time.Duration {
	gap := p.gap(builds, age)
	if gap < p.sweep() {
		return gap
	}
	step := p.step(gap)
	due := now.Add(gap * 6 / 10).Truncate(step).Add(step)
	return due.Sub(now) + p.turn(step, now.Add(-age))
}

// step is the largest of the times that looks are put together at, which all are
// multiples of each other, that is not more than gap.
func (p Policy) step(gap time.Duration) time.Duration {
	step := p.sweep()
	for 2*step <= gap {
		step *= 2
	}
	return step
}

// turn puts the looks of a sweep in the order of creation.
func (p Policy) turn(step time.Duration, created time.Time) time.Duration {
	const turns = 10 * time.Minute
	share := float64(created.Sub(created.Truncate(turns))) / float64(turns)
	return time.Duration(share * float64(p.together(step)))
}

// together is within what time the looks of a sweep are due.
func (p Policy) together(step time.Duration) time.Duration { return min(step/8, time.Second) }

// FirstLook is the delay until the first look at a build that has just begun.
func (p Policy) FirstLook(builds *Experience, kind BuildKind, now time.Time) time.Duration {
	if builds == nil {
		return p.PollInterval
	}
	return p.nextLook(builds.of(kind), now, 0)
}
