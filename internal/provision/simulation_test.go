package provision_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/provision/storetest"
)

// airCloud builds instances for as long as a shape says. Its calls take a while.
type airCloud struct {
	noJobs bool
	took   time.Duration // a call
	mu     sync.Mutex
	built  []*airBuild // in the order of creation
	byID   map[string]*airBuild
	byJob  map[string]*airBuild
	calls  map[string]int
}

type airBuild struct {
	id, job, mode string
	created, ends time.Time
	told          time.Time
}

// settles is how long an instance shows its action after its job has ended.
const settles = 5 * time.Second

func (b *airBuild) item() provision.Instance {
	i := provision.Instance{ID: b.id, Mode: b.mode, Status: provision.InstanceCreating, Actions: []string{"CREATE"}}
	switch now := time.Now(); {
	case !now.Before(b.ends.Add(settles)):
		i.Status, i.Actions = provision.InstanceNormal, nil
	case !now.Before(b.ends):
		i.Status = provision.InstanceNormal
	}
	return i
}

func (b *airBuild) task() provision.Job {
	j := provision.Job{ID: b.job, InstanceID: b.id, Name: "Create" + b.mode, Created: b.created, Status: provision.JobCompleted}
	if now := time.Now(); now.Before(b.ends) {
		j.Status, j.Progress = provision.JobRunning, int(99*now.Sub(b.created)/b.ends.Sub(b.created))
	}
	return j
}

func (c *airCloud) call(name string) {
	time.Sleep(c.took)
	c.mu.Lock()
	c.calls[name]++
}

func (c *airCloud) ListInstances(_ context.Context, _ string, q provision.InstanceQuery) (page provision.InstancePage, _ error) {
	c.call(map[bool]string{true: "instance", false: "instances"}[q.ID != ""])
	defer c.mu.Unlock()
	if q.ID != "" {
		return provision.InstancePage{Instances: []provision.Instance{c.byID[q.ID].item()}, Total: 1}, nil
	}
	for _, b := range slices.Backward(c.built) {
		if q.Mode == "" || b.mode == q.Mode {
			if page.Total >= q.Offset && len(page.Instances) < q.Limit {
				page.Instances = append(page.Instances, b.item())
			}
			page.Total++
		}
	}
	return page, nil
}

func (c *airCloud) Job(_ context.Context, _, id string) (provision.Job, error) {
	c.call("job")
	defer c.mu.Unlock()
	return c.byJob[id].task(), nil
}

func (c *airCloud) Jobs(_ context.Context, _ string, w provision.JobWindow) (page provision.JobPage, _ error) {
	c.call("jobs")
	defer c.mu.Unlock()
	if c.noJobs {
		return page, &provision.CloudError{Class: provision.ClassNotOffered}
	}
	skip := w.Offset
	for _, b := range slices.Backward(c.built) {
		j := b.task()
		if b.created.Before(w.From) || b.created.After(w.To) || w.Status != "" && w.Status != j.Status || w.Name != "" && w.Name != j.Name {
			continue
		}
		if skip--; skip < 0 && len(page.Jobs) < w.Limit {
			page.Jobs = append(page.Jobs, j)
		}
	}
	return page, nil
}

func (c *airCloud) DeleteInstance(context.Context, string, string) (string, string, error) {
	panic("nothing is to be deleted")
}

// rows notes when the end of a build is recorded.
type airRows struct {
	*storetest.Memory
	cloud *airCloud
	left  *sync.WaitGroup
}

func (r airRows) RecordPolls(ctx context.Context, batch []provision.PollResult) error {
	time.Sleep(time.Duration(len(batch)) * 50 * time.Microsecond)
	err := r.Memory.RecordPolls(ctx, batch)
	r.cloud.mu.Lock()
	defer r.cloud.mu.Unlock()
	for _, p := range batch {
		if b := r.cloud.byID[p.InstanceID]; p.State == provision.Ready && b.told.IsZero() {
			b.told = time.Now()
			r.left.Done()
		}
	}
	return err
}

// shape is how long builds take.
type shape func(d *rand.Rand) (mode string, took time.Duration)

func minutes(d *rand.Rand, from, to float64) time.Duration {
	return time.Duration((from + d.Float64()*(to-from)) * float64(time.Minute))
}

// clustered: builds of a mode take about as long, and 1 % up to an hour.
func clustered(d *rand.Rand) (mode string, took time.Duration) {
	switch d.IntN(3) {
	case 0:
		mode, took = "Single", minutes(d, 5, 8)
	case 1:
		mode, took = "ReplicaSet", minutes(d, 8, 13)
	default:
		mode, took = "Sharding", minutes(d, 13, 20)
	}
	if d.Float64() < 0.01 {
		took = minutes(d, 20, 60)
	}
	return mode, took
}

// uniform: nothing is known of a build but that it takes 5 to 20 minutes.
func uniform(d *rand.Rand) (mode string, took time.Duration) {
	if d.Float64() < 0.01 {
		return "ReplicaSet", minutes(d, 20, 60)
	}
	return "ReplicaSet", minutes(d, 5, 20)
}

// constant: all builds take the same time, give or take a little.
func constant(d *rand.Rand) (mode string, took time.Duration) { return "Single", minutes(d, 9.9, 10.1) }

// quick: all builds take a second.
func quick(*rand.Rand) (mode string, took time.Duration) { return "Single", time.Second }

// simulation is many builds that the real poller follows.
type simulation struct {
	shape  shape
	builds int
	rate   float64       // creations a second
	known  int           // builds of earlier, which the fleet learnt from
	noJobs bool          // the cloud does not list its jobs
	took   time.Duration // a call; 0: 100 ms
	policy func(*provision.Policy)
}

type simulated struct {
	calls    float64 // a request, creation included
	byName   map[string]float64
	p50, p90 time.Duration
	p99      time.Duration
}

func (s simulation) run(t *testing.T) (out simulated) {
	synctest.Test(t, func(t *testing.T) {
		d := rand.New(rand.NewPCG(1, 2))
		cloud := &airCloud{noJobs: s.noJobs, took: cmp.Or(s.took, 100*time.Millisecond), byID: map[string]*airBuild{}, byJob: map[string]*airBuild{}, calls: map[string]int{}}
		var left sync.WaitGroup
		left.Add(s.builds)
		rows := airRows{storetest.NewMemory(), cloud, &left}
		if err := rows.NoteMarksSeen(t.Context(), "p"); err != nil {
			t.Fatal(err)
		}
		policy := provision.DefaultPolicy()
		if s.policy != nil {
			s.policy(&policy)
		}
		builds := provision.NewExperience(policy.UsualMin, policy.UsualMax)
		for range s.known {
			mode, took := s.shape(d)
			kind := provision.BuildKind{ProjectID: "p", Mode: mode}
			builds.See(kind, 0, took-settles, false)
			builds.See(kind, took-settles, took+settles, true)
		}
		p := &provision.Poller{Jobs: cloud, Instances: cloud, Deleter: cloud, Store: rows, Policy: policy, Builds: builds,
			Served: provision.Served{Projects: []string{"p"}, Region: "r"}, Worker: "w", Batch: 2000, Concurrency: 8,
			Health: provision.NewHealth(slog.New(slog.DiscardHandler)), Log: slog.New(slog.DiscardHandler), Due: provision.NewBell()}
		ctx, stop := context.WithCancel(t.Context())
		var poller sync.WaitGroup
		poller.Go(func() { p.Run(ctx, t.Context()) })
		s.create(t, d, cloud, rows, builds, policy)
		left.Wait()
		stop()
		poller.Wait()
		out = summarize(cloud)
	})
	return out
}

// create makes the requests and their instances.
func (s simulation) create(t *testing.T, d *rand.Rand, cloud *airCloud, rows airRows, builds *provision.Experience, policy provision.Policy) {
	const tick = 100 * time.Millisecond
	due := 0.0
	for n := 0; n < s.builds; time.Sleep(tick) {
		var accepted []provision.NewRequest
		modes := map[string]*airBuild{}
		for due += s.rate * tick.Seconds(); due >= 1 && n < s.builds; due-- {
			mode, took := s.shape(d)
			b := &airBuild{id: fmt.Sprintf("i%06d", n), job: fmt.Sprintf("j%06d", n), mode: mode, created: time.Now(), ends: time.Now().Add(took)}
			id := fmt.Sprintf("r%06d", n)
			accepted, modes[id] = append(accepted, provision.NewRequest{ID: id, ProjectID: "p", Region: "r", Name: id, Mode: mode, Spec: []byte("{}")}), b
			n++
		}
		if _, err := rows.Accept(t.Context(), accepted, provision.ClaimQuery{}); err != nil {
			t.Fatal(err)
		}
		claims, err := rows.ClaimCreates(t.Context(), provision.ClaimQuery{Served: provision.Served{Projects: []string{"p"}, Region: "r"}, Limit: len(accepted), Lease: time.Minute})
		if err != nil || len(claims) != len(accepted) {
			t.Fatal(len(claims), err)
		}
		results := make([]provision.CreateResult, len(claims))
		cloud.mu.Lock()
		for k, c := range claims {
			b := modes[c.RequestID]
			cloud.built, cloud.byID[b.id], cloud.byJob[b.job] = append(cloud.built, b), b, b
			results[k] = policy.AfterCreate(c, provision.Created{InstanceID: b.id, JobID: b.job}, nil)
			results[k].Next.Delay = policy.FirstLook(builds, provision.BuildKind{ProjectID: "p", Mode: b.mode}, time.Now())
		}
		cloud.mu.Unlock()
		if err := rows.RecordCreates(t.Context(), results); err != nil {
			t.Fatal(err)
		}
	}
}

func summarize(c *airCloud) simulated {
	out := simulated{calls: 1, byName: map[string]float64{}}
	n := float64(len(c.built))
	for name, calls := range c.calls {
		out.byName[name] = float64(calls) / n
		out.calls += float64(calls) / n
	}
	var delays []time.Duration
	for _, b := range c.built {
		delays = append(delays, b.told.Sub(b.ends.Add(settles)))
	}
	slices.SortFunc(delays, func(a, b time.Duration) int { return cmp.Compare(a, b) })
	at := func(q float64) time.Duration {
		return delays[int(q*float64(len(delays)-1))].Round(10 * time.Millisecond)
	}
	out.p50, out.p90, out.p99 = at(0.5), at(0.9), at(0.99)
	return out
}

func TestTenThousandBuildsCostFewCalls(t *testing.T) {
	for _, tt := range []struct {
		name  string
		s     simulation
		calls float64
		p50   time.Duration
	}{
		{"clustered, known", simulation{shape: clustered, builds: 10_000, rate: 500, known: 2000}, 1.5, 5 * time.Second},
		{"clustered, known, steady", simulation{shape: clustered, builds: 4000, rate: 12, known: 2000}, 1.7, 5 * time.Second},
		// 4.8 s, and the order of reads, which is not seeded, may add to it.
		{"clustered, unknown", simulation{shape: clustered, builds: 4000, rate: 500}, 2.1, 5500 * time.Millisecond},
		{"clustered, known, no job list", simulation{shape: clustered, builds: 4000, rate: 500, known: 2000, noJobs: true}, 1.9, 5 * time.Second},
		// The builds of a page end spread over 15 minutes: when it is read every 8.5 s,
		// it tells of less than one end at a time.
		{"uniform, known", simulation{shape: uniform, builds: 4000, rate: 500, known: 2000}, 2.4, 5 * time.Second},
		// The list moves by a page and more while pages of it are read.
		{"quick, known, many a second", simulation{shape: quick, builds: 10_000, rate: 2000, known: 2000, took: 30 * time.Millisecond}, 1.1, 2 * time.Second},
		{"constant, unknown", simulation{shape: constant, builds: 4000, rate: 500}, 1.7, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			got := tt.s.run(t)
			t.Logf("%.3f calls a request %.3v, detection p50 %v, p90 %v, p99 %v; took %v", got.calls, got.byName, got.p50, got.p90, got.p99, time.Since(began).Round(time.Millisecond))
			if got.calls > tt.calls || got.p50 >= tt.p50 {
				t.Errorf("%.3f calls a request, want at most %v; detection %v at the median, want less than %v", got.calls, tt.calls, got.p50, tt.p50)
			}
		})
	}
}
