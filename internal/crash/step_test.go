package crash

import (
	"cmp"
	"flag"
	"testing"
	"testing/synctest"
	"time"

	"ddsworker/internal/provision"
)

var everything = flag.Bool("crash.all", false, "all deaths and all pairs of them in all dialects, which takes many minutes")

var only = flag.String("crash.script", "", "the name of the only script to go through")

// some: one of so many pairs is enough for every day.
const some = 20

// differs tells the two dialects that differ most.
func differs(d provision.Dialect) bool {
	return d == provision.DialectHuawei || d == provision.DialectFlexibleEngine
}

func dialects() []provision.Dialect {
	return []provision.Dialect{provision.DialectHuawei, provision.DialectOTC, provision.DialectFlexibleEngine,
		provision.DialectHuawei2020, provision.DialectUnion}
}

// inBubble runs a test on a database of its own, within one bubble.
func inBubble(t *testing.T, f func(t *testing.T, g *ground)) {
	t.Helper()
	address, clock := env.ClockedPostgres(t)
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		g := newGround(t, address, clock)
		defer g.close()
		f(t, g)
		t.Logf("%d runs, %d deaths", g.runs, g.deaths)
	})
	t.Logf("%v", time.Since(began).Round(time.Millisecond))
}

// Every worker that dies right before or right after any of its side effects
// leaves behind what another one can finish. In the dialects that differ little only
// the moments count after which the world is another one.
func TestDieOnce(t *testing.T) {
	for _, d := range dialects() {
		t.Run(cmp.Or(string(d), "union"), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, g *ground) {
				for _, s := range scripts(d) {
					moments := g.dieAtEach(t, 1, 1, func(dies int) *process {
						w := g.world(t, s, d)
						first := newProcess(t.Context(), dies, !*everything && !differs(d))
						w.finish(first)
						return first
					})
					t.Logf("%-30s %3d moments", s.name, moments)
				}
			})
		})
	}
}

// The same holds where the next worker dies too, whenever the two do. Here only
// the moments count after which the world is another one, and without -crash.all
// one pair of twenty.
func TestDieTwice(t *testing.T) {
	for _, d := range dialects() {
		if !*everything && !differs(d) {
			continue
		}
		step := some
		if *everything {
			step = 1
		}
		t.Run(cmp.Or(string(d), "union"), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, g *ground) {
				for _, s := range scripts(d) {
					before := g.runs
					moments := g.dieAtEach(t, 1, 1, func(one int) *process {
						var first *process
						g.dieAtEach(t, 1+one%step, step, func(two int) *process {
							w := g.world(t, s, d)
							first = newProcess(t.Context(), one, true)
							second := newProcess(t.Context(), two, true)
							w.finish(first, second)
							return second
						})
						return first
					})
					t.Logf("%-30s %3d moments, %5d pairs", s.name, moments, g.runs-before)
				}
			})
		})
	}
}

// dieAtEach runs one run after the other in which a process dies at a moment, each
// time a step later, until it lives on, and returns how many moments it had.
func (g *ground) dieAtEach(t *testing.T, from, step int, run func(dies int) *process) int {
	for dies := from; !t.Failed(); dies += step {
		if p := run(dies); !p.isDead() {
			return p.moments
		}
	}
	return 0
}

// finish lets one process after the other work until all is done, the last of
// which does not die, and checks what they kept of the promises.
func (w *world) finish(processes ...*process) {
	w.t.Helper()
	for _, p := range append(processes, newProcess(w.t.Context(), 0, false)) {
		if w.live(p); !p.isDead() {
			break
		}
	}
	w.check()
}
