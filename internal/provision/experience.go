package provision

import (
	"context"
	"sync"
	"time"
)

// BuildKind is what builds that take equally long have in common.
type BuildKind struct {
	ProjectID string
	Mode      string
	Flavor    string // the spec codes; empty: of any flavor
}

// BuildSpan is what the fleet saw of the builds of a kind in one span of their age.
type BuildSpan struct {
	Kind    BuildKind
	Span    int     // number of the span
	Ended   float64 // builds that ended in it
	Exposed float64 // seconds for which builds went on in it, all together
}

// RememberedBuilds is of how many builds of a kind the fleet knows the time, about:
// when there are more, what is known is halved, so that what is new counts.
const RememberedBuilds = 2000

// BuildStore keeps what the fleet knows about how long builds take.
type BuildStore interface {
	// LearnBuilds adds what was seen since the last call and returns all that is
	// known about the projects. What is old fades.
	LearnBuilds(ctx context.Context, projects []string, seen []BuildSpan) ([]BuildSpan, error)
}

// Experience is how long builds of each kind take, as the fleet saw it: what lies in
// the database, which is read now and then, and what this worker has seen since.
type Experience struct {
	// Min and Max are how long builds usually take, where there is no experience.
	Min, Max time.Duration

	mu     sync.Mutex
	known  map[BuildKind]*lifeTable // with what is new
	fresh  map[BuildKind]*lifeTable // not in the database yet
	curves map[BuildKind]cachedCurve
	read   time.Time // when the database was read last
}

type cachedCurve struct {
	builds expected
	made   time.Time
}

// expected is what is expected of the builds of a kind.
type expected struct {
	curve *lifeCurve
	seen  bool // from experience
}

// NewExperience returns one that has seen nothing.
func NewExperience(usualMin, usualMax time.Duration) *Experience {
	return &Experience{Min: usualMin, Max: usualMax, known: map[BuildKind]*lifeTable{}, fresh: map[BuildKind]*lifeTable{}, curves: map[BuildKind]cachedCurve{}}
}

// enoughBuilds is how many ends make an experience.
const enoughBuilds = 10

// curveLife is how long a curve is used before it is made anew.
const curveLife = time.Second

// of returns what is expected of a kind: from its own builds, else from those of its
// mode, else from what is documented.
func (e *Experience) of(kind BuildKind) expected {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, ok := e.curves[kind]
	if age := time.Since(c.made); ok && age >= 0 && age < curveLife {
		return c.builds
	}
	h, ended := documented(e.Min, e.Max), 0.0
	mode := kind
	mode.Flavor = ""
	for _, k := range []BuildKind{mode, kind} {
		if t := e.known[k]; t != nil {
			h, ended = t.hazards(h), ended+t.ended()
		}
		if kind == mode {
			break
		}
	}
	c = cachedCurve{builds: expected{curve: h.curve(), seen: ended >= enoughBuilds}, made: time.Now()}
	e.curves[kind] = c
	return c.builds
}

// See adds what two looks at a build told, at the ages from and to.
func (e *Experience) See(kind BuildKind, from, to time.Duration, ended bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	mode := kind
	mode.Flavor = ""
	for _, k := range []BuildKind{mode, kind} {
		for _, tables := range []map[BuildKind]*lifeTable{e.known, e.fresh} {
			if tables[k] == nil {
				tables[k] = &lifeTable{}
			}
			tables[k].see(from, to, ended)
		}
		if kind == mode {
			break
		}
	}
}

// How often what was seen is written, and read if nothing was.
const (
	learnEvery  = 5 * time.Second
	relearnBase = time.Minute
)

// share writes what is new and reads what the fleet knows, if it is time to.
func (e *Experience) share(ctx context.Context, store BuildStore, projects []string) error {
	spans, due := e.toShare()
	if !due {
		return nil
	}
	all, err := store.LearnBuilds(ctx, projects, spans)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.read = time.Now() // what was seen is lost to the others, not to this worker
		return err
	}
	known := map[BuildKind]*lifeTable{}
	for _, s := range all {
		if s.Span < 0 || s.Span >= lifeSpans {
			continue
		}
		if known[s.Kind] == nil {
			known[s.Kind] = &lifeTable{}
		}
		known[s.Kind][s.Span] = lifeSpan{Ended: s.Ended, Exposed: s.Exposed}
	}
	for kind, t := range e.fresh { // seen meanwhile
		if known[kind] == nil {
			known[kind] = &lifeTable{}
		}
		known[kind].add(t)
	}
	e.known, e.read = known, time.Now()
	return nil
}

func (e *Experience) toShare() (spans []BuildSpan, due bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	age := time.Since(e.read)
	if !e.read.IsZero() && (age < learnEvery || len(e.fresh) == 0 && age < relearnBase) {
		return nil, false
	}
	for kind, t := range e.fresh {
		for n, s := range t {
			if s != (lifeSpan{}) {
				spans = append(spans, BuildSpan{Kind: kind, Span: n, Ended: s.Ended, Exposed: s.Exposed})
			}
		}
	}
	e.fresh = map[BuildKind]*lifeTable{}
	return spans, true
}
