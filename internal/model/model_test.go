package model

import (
	"flag"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

var want = flag.Int("model.faults", 3000, "how many faults to inject before a test is content")

func TestMain(m *testing.M) {
	flag.Parse()
	// A plan is repeated by its seed, which is printed; the files would lie about.
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// Whatever befalls, every request ends, none makes two instances, nothing is
// hidden and nothing is told out of order.
func TestPromisesHold(t *testing.T) {
	for name, people := range map[string]bool{"left alone": false, "cancelled and retried": true} {
		t.Run(name, func(t *testing.T) {
			counts, runs, total, began := map[string]int{}, 0, 0, time.Now()
			var lived time.Duration
			for total < *want/2 {
				rapid.Check(t, func(rt *rapid.T) {
					p := plans(people).Draw(rt, "plan")
					var w *world
					synctest.Test(t, func(*testing.T) {
						w = newWorld(p)
						w.run()
						lived += time.Since(w.began)
					})
					runs++
					for what, n := range w.counts {
						counts[what] += n
						total += n
					}
					if len(w.faults) > 0 {
						rt.Fatalf("%q\n%s", w.faults, w.history())
					}
				})
			}
			t.Logf("%d runs, %d faults, %v lived in %v", runs, total, lived.Round(time.Minute), time.Since(began).Round(time.Millisecond))
			for _, what := range slices.Sorted(maps.Keys(counts)) {
				t.Logf("%7d %s", counts[what], what)
			}
		})
	}
}
