package main

import (
	"context"
	"errors"
	"fmt"

	"ddsworker/internal/queue"
)

// besides are the options of the cases that measure beside rows that are there
// already.
type besides struct {
	options
	Requests int `default:"20000" help:"Requests that wait in each trial."`
	Repeat   int `default:"2" help:"How often each is measured, in turns."`
}

// historyCase measures the rate beside requests that ended long ago.
type historyCase struct {
	besides
	Rows []int `default:"0,1000000,10000000" help:"Rows of history, all tables together: eleven for each request that has ended."`
}

// Run is the case of a long history.
func (c *historyCase) Run(ctx context.Context) error {
	return c.run(ctx, "history", "rows", ended, rowsOfEnded, c.Rows)
}

// buildingCase measures the rate beside instances that are being built.
type buildingCase struct {
	besides
	Building []int `default:"0,1000000" help:"Instances that are being built, and need not be looked at for an hour."`
}

// Run is the case of many instances being built.
func (c *buildingCase) Run(ctx context.Context) error {
	return c.run(ctx, "building", "building", building, 1, c.Building)
}

// waitingCase measures the rate beside requests that wait.
type waitingCase struct {
	besides
	Waiting []int `default:"0,1000000" help:"Requests that wait, and may not be tried again for an hour."`
}

// Run is the case of many requests that wait. Those that are measured come on top.
func (c *waitingCase) Run(ctx context.Context) error {
	set := map[string]string{"INTAKE_LIMIT": "10000000"}
	for name, value := range c.Set {
		set[name] = value
	}
	c.Set = set
	return c.run(ctx, "waiting", "waiting", waiting, 1, c.Waiting)
}

// run measures beside each number of rows, in turns, so that what else the machine
// does falls on all alike. A database is filled once.
func (c *besides) run(ctx context.Context, name, unit string, k kind, rowsEach int, numbers []int) error {
	return quick(ctx, c.options, func(b *bench) error {
		r, err := b.report(ctx, name)
		if err != nil {
			return err
		}
		var trials []trial
		for round := range c.Repeat {
			for i, n := range numbers {
				err := b.add(ctx, r, func() (t trial, err error) {
					if round > 0 {
						return trials[i], b.again(ctx, trials[i])
					}
					t, err = b.worker(ctx, c.Requests, 1, func(t trial) error { return b.fill(ctx, t, n/rowsEach, k) })
					t.name = thousands(n) + " " + unit
					trials = append(trials, t)
					return t, err
				})
				if err != nil {
					return err
				}
			}
		}
		r.relateMeans()
		return r.write(b.Out, "requests a second", func(r Result) float64 { return r.RequestsPerSecond })
	})
}

// again prepares a trial's database for the same requests once more.
func (b *bench) again(ctx context.Context, t trial) error {
	if err := b.dropStreams(ctx, queue.RequestsStream, queue.EventsStream, queue.RejectedStream); err != nil {
		return err
	}
	var statements []string
	for _, table := range []string{"jobs", "instances", "attempts", "events", "marks", "requests"} {
		statements = append(statements, "delete from "+table+" where "+ours)
	}
	if err := b.lab.Exec(ctx, t.database, append(statements, "vacuum analyze")...); err != nil {
		return err
	}
	p, err := t.start(0)
	if err != nil {
		return err
	}
	if err := errors.Join(b.untilStreams(ctx, p), p.Stop()); err != nil {
		return err
	}
	return b.publish(ctx, queue.RequestsSubject, 1, t.requests)
}

// relateMeans tells the mean of each name by that of the first.
func (r *Report) relateMeans() {
	var names []string
	rates, cpu, peak, counts := map[string]float64{}, map[string]float64{}, map[string]float64{}, map[string]float64{}
	for _, v := range r.Results {
		if counts[v.Name] == 0 {
			names = append(names, v.Name)
		}
		counts[v.Name]++
		rates[v.Name] += v.RequestsPerSecond
		cpu[v.Name] += v.WorkerCPU + v.PostgresCPU + v.NATSCPU
		peak[v.Name] = max(peak[v.Name], float64(v.PeakMemory)/(1<<20))
	}
	mean := func(of map[string]float64, name string) float64 { return of[name] / counts[name] }
	for _, name := range names {
		if name != names[0] {
			by := fmt.Sprintf("%s by %s, ", name, names[0])
			r.figure(by+"requests/s", mean(rates, name)/mean(rates, names[0]), "")
			r.figure(by+"CPU of worker, Postgres and NATS", mean(cpu, name)/mean(cpu, names[0]), "")
		}
		r.figure(name+", peak memory", peak[name], "MiB")
	}
}
