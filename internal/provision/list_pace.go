package provision

import (
	"math"
	"time"
)

// listPace is how long a list is and how fast it grows, as its pages showed: a page is
// asked for by its distance from the front, which moves while others create.
type listPace struct {
	total int       // of the list, as of the last page
	at    time.Time // when that was served
	rate  float64   // instances a second that it grows by
	off   float64   // how far foretold lengths were off
	took  float64   // seconds that a read takes
}

// Bounds of what is read twice so that nothing is missed.
const (
	margin     = 3
	mostMargin = pageSize / 10
)

// margin is how far the place of a page may be off.
func (p *listPace) margin() int { return min(margin+int(2*p.off), mostMargin) }

// moves tells whether the list moves by more than the margin in the time that a read
// takes: then a page is chosen when the one before has been read.
func (p *listPace) moves() bool { return math.Abs(p.rate)*p.took > margin }

// foretold is how long the list is by then.
func (p *listPace) foretold(at time.Time) int {
	return p.total + int(p.rate*max(0, at.Sub(p.at).Seconds()))
}

// offset returns what a page is asked for by, if it is asked for now.
func (p *listPace) offset(page listPage, now time.Time) int {
	served := now.Add(time.Duration(p.took / 2 * float64(time.Second)))
	return max(0, p.foretold(served)-page.low-pageSize+1)
}

// grown is how long the rate of growth is told from.
const grown = 250 * time.Millisecond

// saw takes what a page that was asked for at some time told.
func (p *listPace) saw(total int, asked, now time.Time) {
	took := now.Sub(asked)
	at := asked.Add(took / 2)
	since := at.Sub(p.at)
	switch {
	case p.at.IsZero():
		p.took = took.Seconds()
	case since <= 0: // a page that was asked for later came earlier
		return
	default:
		p.off += (math.Abs(float64(total-p.foretold(at))) - p.off) / 4
		p.took += (took.Seconds() - p.took) / 4
		weight := -math.Expm1(-since.Seconds() / grown.Seconds())
		p.rate += weight * (float64(total-p.total)/since.Seconds() - p.rate)
	}
	p.total, p.at = total, at
}
