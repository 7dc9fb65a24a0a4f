package main

import (
	"context"
	"fmt"
	"time"
)

// compareCase is the main comparison.
type compareCase struct {
	options
	Requests int `default:"50000" help:"Requests that wait for the floor and for our worker."`
	Peers    int `default:"5000" help:"Requests that wait for the peers; 0: leave the peers out."`
	Sweep    int `default:"2000" help:"Requests with which each tuning of the peers is tried; 0: take the first."`
}

// plainTunings and riverTunings are what is tried; the best is taken. The first
// was the best on the machine that this was written on.
func plainTunings() []plainTuning {
	return []plainTuning{{2048, 16, 64}, {2048, 8, 64}, {2048, 32, 64}, {2048, 16, 256}, {4096, 16, 64}}
}

func riverTunings() []riverTuning {
	return []riverTuning{{200, 16, 20 * time.Millisecond}, {100, 16, 20 * time.Millisecond}, {500, 16, 20 * time.Millisecond},
		{200, 32, 20 * time.Millisecond}, {200, 16, 100 * time.Millisecond}}
}

// Run measures the floor before and after everything else: what it differs by is
// the noise of the machine.
func (c *compareCase) Run(ctx context.Context) error {
	return quick(ctx, c.options, func(b *bench) error {
		r, err := b.report(ctx, "compare")
		if err != nil {
			return err
		}
		if err := b.add(ctx, r, func() (trial, error) { return b.floor(c.Requests) }); err != nil {
			return err
		}
		if err := b.add(ctx, r, func() (trial, error) { return b.profiled(ctx, c.Requests) }); err != nil {
			return err
		}
		if c.Peers > 0 {
			if err := addBest(ctx, b, r, plainTunings(), c.Sweep, c.Peers, b.plain); err != nil {
				return err
			}
			if err := addBest(ctx, b, r, riverTunings(), c.Sweep, c.Peers, b.river); err != nil {
				return err
			}
		}
		if err := b.add(ctx, r, func() (trial, error) { return b.floor(c.Requests) }); err != nil {
			return err
		}
		r.compare()
		return r.write(b.Out, "requests a second", func(r Result) float64 { return r.RequestsPerSecond })
	})
}

// add measures one contestant.
func (b *bench) add(ctx context.Context, r *Report, prepare func() (trial, error)) error {
	t, err := prepare()
	if err != nil {
		return err
	}
	result, err := b.run(ctx, t)
	if err == nil {
		r.Results = append(r.Results, result)
	}
	return err
}

// addBest measures a peer with the best of its tunings.
func addBest[T any](ctx context.Context, b *bench, r *Report, tunings []T, sweep, requests int, prepare func(context.Context, int, T) (trial, error)) error {
	best, rate := tunings[0], 0.0
	for _, tuning := range tunings {
		if sweep == 0 {
			break
		}
		t, err := prepare(ctx, sweep, tuning)
		if err != nil {
			return err
		}
		result, err := b.run(ctx, t)
		if err != nil {
			return err
		}
		say("  %.0f requests a second", result.RequestsPerSecond)
		result.Name = fmt.Sprintf("%s, a try", result.Name)
		r.Tries = append(r.Tries, result)
		if result.RequestsPerSecond > rate {
			best, rate = tuning, result.RequestsPerSecond
		}
	}
	return b.add(ctx, r, func() (trial, error) { return prepare(ctx, requests, best) })
}
