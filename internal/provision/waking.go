package provision

import (
	"context"
	"time"
)

// Waking lets workers hear of requests that are due and that the worker which made
// them so has not claimed. Nothing depends on it: what nobody hears of is found when
// the loops look for what is due.
type Waking struct {
	Others OtherWorkers
	Health *Health // one of its own: a worker that hears of nothing is ready all the same

	// Unclaimed is rung when there are such requests here, Woken when there are
	// elsewhere.
	Unclaimed Bell
	Woken     []Bell
}

// breath is how long no other worker is woken after they were: one hears as well of
// what comes meanwhile, and a burst is told in few words.
const breath = 10 * time.Millisecond

// tell wakes the others until the bell is closed, and of what was rung before.
func (w *Waking) tell(work context.Context) {
	for range w.Unclaimed {
		_ = w.Others.Wake(work)
		Bell(nil).wait(work, breath)
	}
}

// hear is woken until ctx ends.
func (w *Waking) hear(ctx context.Context) {
	const part = "waking by other workers"
	repeat(ctx, part, w.Health, nil, func(ctx context.Context) (bool, error) {
		return true, w.Others.Listen(ctx, func() {
			w.Health.Report(part, nil)
			ring(w.Woken)
		})
	})
}
