package provision

import (
	"math"
	"time"
)

// A life table tells how likely a build ends at an age: of each span of age, how
// many builds ended in it and for how long builds were seen to go on in it. So what
// is still being built counts too, which a list of past durations leaves out: when
// the first builds of a kind end, it is known at once that most others do not yet.
type lifeTable [lifeSpans]lifeSpan

type lifeSpan struct {
	Ended   float64 // builds
	Exposed float64 // seconds that builds went on for, all together
}

// The spans of age: each is a twentieth longer than the one before, so that builds of a
// second and of an hour are told equally well.
const (
	lifeSpans  = 260
	lifeGrowth = 1.05
	lifeFirst  = 50 * time.Millisecond // length of the first span
)

// lifeBounds are where the spans begin, in seconds; the last one has no end.
var lifeBounds = func() (b [lifeSpans + 1]float64) {
	for n := 1; n < lifeSpans; n++ {
		b[n] = lifeFirst.Seconds() * math.Pow(lifeGrowth, float64(n-1))
	}
	b[lifeSpans] = math.Inf(1)
	return b
}()

// spanOf returns the span that an age in seconds is in.
func spanOf(age float64) int {
	if age < lifeBounds[1] {
		return 0
	}
	n := 1 + int(math.Log(age/lifeFirst.Seconds())/math.Log(lifeGrowth))
	n = min(n, lifeSpans-1)
	for n > 0 && age < lifeBounds[n] { // rounding
		n--
	}
	for n < lifeSpans-1 && age >= lifeBounds[n+1] {
		n++
	}
	return n
}

// see adds what two looks at a build told, at the ages from and to: that it went on,
// or that it ended at some time between.
func (t *lifeTable) see(from, to time.Duration, ended bool) {
	a, b := from.Seconds(), to.Seconds()
	if !(b > a) {
		if ended {
			t[spanOf(b)].Ended++
		}
		return
	}
	for n := spanOf(a); n < lifeSpans && lifeBounds[n] < b; n++ {
		begin, end := max(a, lifeBounds[n]), min(b, lifeBounds[n+1])
		if ended { // at any time between, all equally likely
			t[n].Ended += (end - begin) / (b - a)
			t[n].Exposed += (end - begin) * (1 - ((begin+end)/2-a)/(b-a))
		} else {
			t[n].Exposed += end - begin
		}
	}
}

// ended is how many builds the table has seen the end of.
func (t *lifeTable) ended() (n float64) {
	for _, s := range t {
		n += s.Ended
	}
	return n
}

func (t *lifeTable) add(other *lifeTable) {
	for n, s := range other {
		t[n].Ended += s.Ended
		t[n].Exposed += s.Exposed
	}
}

// hazards are the rates, a second, at which builds end in each span.
type hazards [lifeSpans]float64

// priorBuilds is how many builds an expectation from elsewhere weighs.
const priorBuilds = 3

// hazards returns the rates that the table tells; where it has seen little, those
// of prior.
func (t *lifeTable) hazards(prior hazards) (h hazards) {
	for n, s := range t {
		weight := priorBuilds * spanLength(n)
		h[n] = (s.Ended + weight*prior[n]) / (s.Exposed + weight)
	}
	return h
}

func spanLength(n int) float64 {
	if n == lifeSpans-1 {
		return lifeBounds[n]
	}
	return lifeBounds[n+1] - lifeBounds[n]
}

// documented are the rates without any experience: builds take from usualMin to
// usualMax (dds-api.md §7.1: 5 to 20 minutes), hardly any less, and some longer.
func documented(usualMin, usualMax time.Duration) (h hazards) {
	least, most := usualMin.Seconds(), max(usualMax, usualMin+1).Seconds()
	for n := range h {
		switch at := lifeBounds[n] + spanLength(n)/2; {
		case at < least:
			h[n] = 0.05 / least
		case at < most:
			h[n] = 1 / (most - least)
		default:
			h[n] = 1 / most
		}
	}
	return h
}

// A lifeCurve is the sum of the rates up to an age: exp(-at(age)) is the share of
// builds that go on longer.
type lifeCurve struct {
	rates hazards
	sums  hazards // at the beginning of each span
}

func (h hazards) curve() *lifeCurve {
	c := &lifeCurve{rates: h}
	for n := 1; n < lifeSpans; n++ {
		c.sums[n] = c.sums[n-1] + h[n-1]*spanLength(n-1)
	}
	return c
}

func (c *lifeCurve) at(age time.Duration) float64 {
	s := max(age, 0).Seconds()
	n := spanOf(s)
	return c.sums[n] + (s-lifeBounds[n])*c.rates[n]
}

// reaches returns the age at which the sum is reached.
func (c *lifeCurve) reaches(sum float64) time.Duration {
	low, high := 0, lifeSpans-1
	for low < high { // the last span that begins before
		if mid := (low + high + 1) / 2; c.sums[mid] <= sum {
			low = mid
		} else {
			high = mid - 1
		}
	}
	const longest = 30 * 24 * time.Hour
	s := lifeBounds[low] + (sum-c.sums[low])/max(c.rates[low], 1e-12)
	return time.Duration(min(max(s, 0), longest.Seconds()) * float64(time.Second))
}

// between is how likely it is that a build which went on at an age ended until a
// later one.
func (c *lifeCurve) between(from, to time.Duration) float64 {
	return -math.Expm1(c.at(from) - c.at(to))
}
