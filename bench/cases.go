package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/bench/peer"
	"ddsworker/internal/queue"
)

// latencyCase publishes at a steady rate and measures how long it takes until the
// create call has arrived.
type latencyCase struct {
	options
	Rate  int           `help:"Requests published a second; 0: half of what a burst shows to be possible."`
	Burst int           `default:"5000" help:"Requests of that burst."`
	For   time.Duration `default:"15s" help:"How long requests are published."`
}

// Run is the latency case.
func (c *latencyCase) Run(ctx context.Context) error {
	return quick(ctx, c.options, func(b *bench) error {
		r, err := b.report(ctx, "latency")
		if err != nil {
			return err
		}
		rate := c.Rate
		if rate == 0 {
			if err := b.add(ctx, r, func() (trial, error) { return b.worker(ctx, c.Burst, 1) }); err != nil {
				return err
			}
			rate = max(1, int(r.best("ours").CreatesPerSecond/2))
		}
		t, err := b.worker(ctx, 0, 1)
		if err != nil {
			return err
		}
		t.requests = int(float64(rate) * c.For.Seconds())
		t.settings += fmt.Sprintf(", %d published a second", rate)
		published := make([]time.Time, t.requests+1)
		t.running = func(ctx context.Context) error { return b.publishSteadily(ctx, rate, published) }
		result, err := b.run(ctx, t)
		if err != nil {
			return err
		}
		r.Results = append(r.Results, result)
		when := map[string]time.Time{}
		for n, at := range published {
			when[peer.Name(n)] = at
		}
		var took []time.Duration
		for _, i := range result.instances {
			took = append(took, i.Created.Sub(when[i.Name]))
		}
		r.figure("published", float64(rate), "/s")
		r.figure("publish to create, p50", quantile(took, 0.5), "ms")
		r.figure("publish to create, p99", quantile(took, 0.99), "ms")
		fsyncs, err := b.lab.Fsyncs(500)
		if err != nil {
			return err
		}
		r.figure("two fsyncs, p50", 2*quantile(fsyncs, 0.5), "ms")
		r.figure("two fsyncs, p99", 2*quantile(fsyncs, 0.99), "ms")
		return r.write(b.Out, "requests a second", func(r Result) float64 { return r.CreatesPerSecond })
	})
}

// publishSteadily publishes one request after the other, each when its time has
// come, and notes when. The first ones go while the worker starts, so it waits for
// that to be over.
func (b *bench) publishSteadily(ctx context.Context, rate int, published []time.Time) error {
	if err := pauseFor(ctx, 2*time.Second); err != nil {
		return err
	}
	began := time.Now()
	for n := 1; n < len(published); n++ {
		due := began.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
		if err := pauseFor(ctx, time.Until(due)); err != nil {
			return err
		}
		published[n] = time.Now()
		if _, err := b.js.PublishMsgAsync(b.message(queue.RequestsSubject, peer.Name(n)), jetstream.WithStallWait(time.Minute)); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	select {
	case <-b.js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// airCase has many instances built at a time, for as long as the real cloud takes.
type airCase struct {
	options
	Requests int     `default:"10000" help:"Instances in the air."`
	Known    int     `default:"1000" help:"Builds that were followed before, in a trial of their own, from which the worker knows how long they take; 0: none."`
	Speed    float64 `default:"20" help:"How much faster time goes: at 20 the longest job of an hour takes three minutes."`
	Uniform  bool    `help:"Draw all times from 5 to 20 minutes, instead of by mode: 5-8 a single node, 8-13 a replica set, 13-20 a cluster."`
}

// settleLag is how long an instance shows its action after its job has ended; the
// cloud's default.
const settleLag = 5 * time.Second

// Run is the case of many instances in the air. What the worker measures in real
// time is sped up with the cloud.
func (c *airCase) Run(ctx context.Context) error {
	fast := func(d time.Duration) time.Duration { return time.Duration(float64(d) / c.Speed) }
	set := map[string]string{"POLL_INTERVAL": fast(time.Second).String(), "DETECTION_TARGET": fast(5 * time.Second).String(),
		"BUILD_TIME_MIN": fast(5 * time.Minute).String(), "BUILD_TIME_MAX": fast(20 * time.Minute).String()}
	for name, value := range c.Set {
		set[name] = value
	}
	c.Set = set
	cloud := []string{fmt.Sprintf("--speed=%v", c.Speed), "--job-min=5m", "--job-max=20m", "--slow-jobs=0.01", "--slow-job-max=1h"}
	if !c.Uniform {
		cloud = append(cloud, "--jobs-by-mode")
	}
	return in(ctx, c.options, cloud, func(b *bench) error {
		for _, name := range []string{"replica-set.json", "cluster.json"} {
			body, err := example(name)
			if err != nil {
				return err
			}
			b.bodies = append(b.bodies, body)
		}
		r, err := b.report(ctx, "air")
		if err != nil {
			return err
		}
		var learning trial
		if c.Known > 0 {
			err = b.add(ctx, r, func() (_ trial, err error) {
				learning, err = b.worker(ctx, c.Known, 1)
				learning.name, learning.settle = "learning", fast(settleLag)
				return learning, err
			})
			if err != nil {
				return err
			}
		}
		err = b.add(ctx, r, func() (trial, error) {
			t, err := b.worker(ctx, c.Requests, 1, func(t trial) error { return b.copyBuilds(ctx, learning, t) })
			t.settle = fast(settleLag)
			return t, err
		})
		if err != nil {
			return err
		}
		ours := r.best("ours")
		r.figure("calls a request", ours.Calls, "")
		r.figure("detection p50, simulated", ours.DetectionP50*c.Speed/1000, "s")
		r.figure("detection p99, simulated", ours.DetectionP99*c.Speed/1000, "s")
		return r.write(b.Out, "calls a request", func(r Result) float64 { return r.Calls })
	})
}

// copyBuilds lets a trial know how long builds took in another one.
func (b *bench) copyBuilds(ctx context.Context, from, to trial) error {
	if from.database == "" {
		return nil
	}
	source, err := pgx.Connect(ctx, b.lab.DatabaseURL(from.database))
	if err != nil {
		return err
	}
	defer source.Close(context.WithoutCancel(ctx))
	target, err := pgx.Connect(ctx, b.lab.DatabaseURL(to.database))
	if err != nil {
		return err
	}
	defer target.Close(context.WithoutCancel(ctx))
	rows, err := source.Query(ctx, `select $1::text, mode, flavor, span, ended, exposed from build_times where project_id = $2`, to.project, from.project)
	if err != nil {
		return err
	}
	known, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	if err != nil {
		return err
	}
	// The one request that has gone through is forgotten.
	if _, err := target.Exec(ctx, `delete from build_times`); err != nil {
		return err
	}
	_, err = target.CopyFrom(ctx, pgx.Identifier{"build_times"}, []string{"project_id", "mode", "flavor", "span", "ended", "exposed"}, pgx.CopyFromRows(known))
	return err
}

// processesCase measures the rate with several worker processes.
type processesCase struct {
	options
	Requests  int   `default:"20000" help:"Requests that wait in each trial."`
	Processes []int `default:"1,2,4" help:"How many worker processes."`
}

// Run is the case of several processes. They share the create calls, so that the
// cloud has the same to do.
func (c *processesCase) Run(ctx context.Context) error {
	return quick(ctx, c.options, func(b *bench) error {
		r, err := b.report(ctx, "processes")
		if err != nil {
			return err
		}
		all := b.Concurrency
		for _, n := range c.Processes {
			b.Concurrency = max(1, all/n)
			err := b.add(ctx, r, func() (trial, error) {
				t, err := b.worker(ctx, c.Requests, n)
				t.name = fmt.Sprintf("%d processes", n)
				return t, err
			})
			if err != nil {
				return err
			}
		}
		r.relate()
		return r.write(b.Out, "requests a second", func(r Result) float64 { return r.RequestsPerSecond })
	})
}

// relate tells each result by the first.
func (r *Report) relate() {
	for _, v := range r.Results[1:] {
		r.figure(v.Name+" by "+r.Results[0].Name, v.RequestsPerSecond/r.Results[0].RequestsPerSecond, "")
	}
}
