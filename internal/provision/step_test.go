package provision

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestIntakeKeepsInStepWithCallsThatEnd(t *testing.T) {
	const batch = 500
	for name, c := range map[string]struct {
		concurrency int
		projects    []string
		before      func(*Creator) // when the intake asks
		meanwhile   func(*Creator)
		most        int
		after       time.Duration
	}{
		"nothing is called yet": {most: 256},
		"a batch is small":      {concurrency: 4000, most: batch},
		"calls end": {before: func(c *Creator) { enter(c, 256) }, meanwhile: func(c *Creator) {
			for range 256 {
				time.Sleep(time.Millisecond)
				c.inFlight().leave("p")
			}
		}, most: 64, after: 64 * time.Millisecond},
		"calls end, but not so many": {before: func(c *Creator) { enter(c, 256) }, meanwhile: func(c *Creator) {
			for range 20 {
				c.inFlight().leave("p")
			}
		}, most: 20, after: patience},
		"no call ends": {before: func(c *Creator) { enter(c, 256) }, most: batch, after: patience},
		"others are due": {before: func(c *Creator) { c.desk.idle.set(false) }, meanwhile: func(c *Creator) {
			time.Sleep(700 * time.Millisecond)
			c.desk.idle.set(true)
		}, most: 256, after: 700 * time.Millisecond},
		"others are due for long":   {before: func(c *Creator) { c.desk.idle.set(false) }, most: batch, after: respite},
		"another project":           {projects: []string{"p", "q"}, before: func(c *Creator) { enter(c, 256) }, most: batch},
		"the project is bounded":    {before: func(c *Creator) { c.unsent.note("p", &CloudError{Class: ClassNotSent}) }, most: batch},
		"few calls are made at all": {concurrency: 8, before: func(c *Creator) { enter(c, 8) }, most: batch},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				creator := &Creator{Concurrency: 256, Served: Served{Projects: []string{"p"}}}
				if c.concurrency > 0 {
					creator.Concurrency = c.concurrency
				}
				if c.projects != nil {
					creator.Served.Projects = c.projects
				}
				creator.atDesk().idle.set(true)
				if c.before != nil {
					c.before(creator)
				}
				var others sync.WaitGroup
				defer others.Wait()
				if c.meanwhile != nil {
					others.Go(func() { c.meanwhile(creator) })
				}
				began := time.Now()
				if most := creator.inStep(t.Context(), batch); most != c.most || time.Since(began) != c.after {
					t.Errorf("%d after %v, want %d after %v", most, time.Since(began), c.most, c.after)
				}
			})
		})
	}
}

func enter(c *Creator, n int) {
	for range n {
		c.inFlight().enter("p")
	}
}
