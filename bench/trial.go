package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/bench/lab"
	"ddsworker/internal/dds/ddsfake"
)

// trial is one contestant with one load.
type trial struct {
	name, project, database string // no database: it keeps no history and ends by itself
	requests, processes     int
	unfinished              string // asks whether all are ready
	settings                string
	// start starts one process; prepare has been called before.
	start func(n int) (*lab.Process, error)
	// running is called once the processes are; it may be nil.
	running func(ctx context.Context) error
	// job is how long the cloud takes to build an instance, which is nobody's doing.
	job time.Duration
	// settle is how long after the end of its job an instance can first be seen
	// to be ready.
	settle time.Duration
}

// Result is what a trial brought. CPU times are microseconds a request.
type Result struct {
	Name              string             `json:"name"`
	Settings          string             `json:"settings,omitempty"`
	Requests          int                `json:"requests"`
	Processes         int                `json:"processes"`
	Seconds           float64            `json:"seconds"`             // from the start of the process until the last is ready
	RequestsPerSecond float64            `json:"requests_per_second"` // in that time, less what the last job takes
	CreatesPerSecond  float64            `json:"creates_per_second"`
	WorkerCPU         float64            `json:"worker_cpu_us"`
	CloudCPU          float64            `json:"cloud_cpu_us"`
	PostgresCPU       float64            `json:"postgres_cpu_us"`
	NATSCPU           float64            `json:"nats_cpu_us"`
	Calls             float64            `json:"calls"` // of the cloud, a request, creation included
	CallsByKind       map[string]float64 `json:"calls_by_kind"`
	Commits           float64            `json:"commits"`
	PeakMemory        int64              `json:"peak_memory_bytes"` // of the largest process
	DetectionP50      float64            `json:"detection_p50_ms"`
	DetectionP99      float64            `json:"detection_p99_ms"`

	instances []ddsfake.Instance
}

// run measures a trial whose requests wait already.
func (b *bench) run(ctx context.Context, t trial) (r Result, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, b.Limit, fmt.Errorf("more than --limit=%v", b.Limit))
	defer cancel()
	say("%s: %s requests%s", t.name, thousands(t.requests), strings.TrimSuffix(", "+t.settings, ", "))
	if err := b.lab.Exec(ctx, "", "checkpoint"); err != nil {
		return r, err
	}
	before, err := b.lab.Read(ctx)
	if err != nil {
		return r, err
	}
	made, err := b.lab.Created(ctx)
	if err != nil {
		return r, err
	}
	commits, err := b.commits(ctx, t)
	if err != nil {
		return r, err
	}
	var processes []*lab.Process
	defer func() {
		for _, p := range processes { // those that an error left
			if err != nil {
				err = errors.Join(err, p.Stop(), errors.New(p.LogTail()))
			}
		}
	}()
	for n := range max(1, t.processes) {
		p, err := t.start(n)
		if err != nil {
			return r, err
		}
		processes = append(processes, p)
	}
	if t.running != nil {
		if err := t.running(ctx); err != nil {
			return r, err
		}
	}
	questions, err := b.wait(ctx, t, made+t.requests, processes)
	if err != nil {
		return r, err
	}
	after, err := b.lab.Read(ctx)
	if err != nil {
		return r, err
	}
	r = Result{Name: t.name, Settings: t.settings, Requests: t.requests, Processes: len(processes), CallsByKind: map[string]float64{}}
	cpu := time.Duration(0)
	for _, p := range processes {
		r.PeakMemory = max(r.PeakMemory, p.PeakMemory())
		if err := p.Stop(); err != nil {
			return r, err
		}
		cpu += p.CPU()
	}
	processes, started := nil, processes[0].Started
	r.count(after.Since(before), cpu)
	total, err := b.commits(ctx, t)
	if err != nil {
		return r, err
	}
	r.Commits = max(0, float64(total-commits-int64(questions))/float64(t.requests))
	return r, b.times(ctx, t, started, &r)
}

// count tells counters by the request.
func (r *Result) count(used lab.Reading, worker time.Duration) {
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(r.Requests) }
	r.WorkerCPU, r.CloudCPU, r.PostgresCPU, r.NATSCPU = each(worker), each(used.Cloud), each(used.Postgres), each(used.NATS)
	for op, n := range used.Calls {
		r.CallsByKind[string(op)] = float64(n) / float64(r.Requests)
		r.Calls += float64(n) / float64(r.Requests)
	}
}

// commits of a trial's database so far.
func (b *bench) commits(ctx context.Context, t trial) (int64, error) {
	if t.database == "" {
		return 0, nil
	}
	return b.lab.Commits(ctx, t.database)
}

// wait waits until the cloud has made so many instances and everything is ready, and
// returns how many transactions of the trial's database that took.
func (b *bench) wait(ctx context.Context, t trial, made int, processes []*lab.Process) (questions int, err error) {
	if t.database == "" {
		p := processes[0]
		select {
		case <-p.Ended():
			return 0, nil
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	var ended []<-chan struct{}
	for _, p := range processes {
		ended = append(ended, p.Ended())
	}
	err = poll(ctx, 50*time.Millisecond, ended, func() (bool, error) {
		now, err := b.lab.Created(ctx)
		return now >= made, err
	})
	if err != nil {
		return 0, err
	}
	conn, err := pgx.Connect(ctx, b.lab.DatabaseURL(t.database))
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = poll(ctx, 100*time.Millisecond, ended, func() (done bool, err error) {
		questions++
		err = conn.QueryRow(ctx, t.unfinished).Scan(&done)
		return done, err
	})
	return questions, err
}

// How to ask whether all are ready. Ours asks the indexes that live rows are in, so
// that the question costs Postgres as little as may be; the peers have none of them.
const (
	askPeers = `select not exists (select 1 from requests where state in ('pending', 'creating', 'building') and ` + ours + `)`
	askOurs  = `select not exists (select 1 from requests where state = 'pending' and not look_first and ` + ours + `)
	and not exists (select 1 from requests where (state = 'creating' or (state = 'pending' and look_first)) and ` + ours + `)
	and not exists (select 1 from instances where next_look_at is not null and ` + ours + `)`
)

// ours are the requests of a trial, and not those that were there before.
const ours = `request_id >= 'bench-' and request_id < 'bench.'`

// times reads when each instance was created, was finished at the cloud, and was
// recorded as ready.
func (b *bench) times(ctx context.Context, t trial, started time.Time, r *Result) (err error) {
	if r.instances, err = b.lab.Instances(ctx, t.project); err != nil {
		return err
	}
	r.instances = slices.DeleteFunc(r.instances, func(i ddsfake.Instance) bool {
		return !strings.HasPrefix(i.Name, "bench-") || i.Created.Before(started)
	})
	if len(r.instances) != t.requests {
		return fmt.Errorf("%s: the cloud has %d instances instead of %d", t.name, len(r.instances), t.requests)
	}
	ends, lastCreate := map[string]time.Time{}, started
	for _, i := range r.instances {
		ends[i.Name] = i.JobEnds.Add(t.settle)
		if i.Created.After(lastCreate) {
			lastCreate = i.Created
		}
	}
	r.CreatesPerSecond = float64(t.requests) / lastCreate.Sub(started).Seconds()
	if t.database == "" {
		r.Seconds, r.RequestsPerSecond = lastCreate.Sub(started).Seconds(), r.CreatesPerSecond
		return nil
	}
	conn, err := pgx.Connect(ctx, b.lab.DatabaseURL(t.database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `select name, finished_at from requests where state = 'ready' and `+ours)
	if err != nil {
		return err
	}
	var name string
	var at time.Time
	var delays []time.Duration
	last := started
	if _, err := pgx.ForEachRow(rows, []any{&name, &at}, func() error {
		delays = append(delays, at.Sub(ends[name]))
		if at.After(last) {
			last = at
		}
		return nil
	}); err != nil {
		return err
	}
	if len(delays) != t.requests {
		return fmt.Errorf("%s: %d of %d requests are ready", t.name, len(delays), t.requests)
	}
	r.Seconds = last.Sub(started).Seconds()
	r.RequestsPerSecond = float64(t.requests) / (r.Seconds - t.job.Seconds())
	r.DetectionP50, r.DetectionP99 = quantile(delays, 0.5), quantile(delays, 0.99)
	return nil
}

// quantile of durations, in milliseconds.
func quantile(d []time.Duration, q float64) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return float64(d[min(len(d)-1, int(q*float64(len(d))))].Microseconds()) / 1000
}
