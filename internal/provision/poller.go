package provision

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Poller follows instances that are being built: many with one call where the
// cloud lists its jobs, one by one where it does not.
type Poller struct {
	Jobs      JobReader       // paced
	Instances InstanceLister  // paced
	Deleter   InstanceDeleter // paced
	Budget    *Budget         // bounds what is claimed; nil: does not
	Store     PollStore
	Policy    Policy
	Served    Served
	Worker    string
	Batch     int // instances looked at in one round
	// Concurrency bounds the calls of a round where they are read one by one; the
	// projects have equal parts of it.
	Concurrency int
	Health      *Health
	Log         *slog.Logger
	// Due rings when there are new instances; Recorded is rung when what was
	// seen is in the database.
	Due      Bell
	Recorded []Bell

	unsent unsent

	mu      sync.Mutex           // the projects of a round are read side by side
	noList  map[string]time.Time // projects without a job list, and until when that is believed
	trouble map[string]time.Time // parts in trouble, and when that was last seen
}

// relearn is how long a cloud that does not list its jobs is not asked again.
const relearn = time.Hour

// few is how many jobs or instances are rather read one by one than looked for
// on another page.
const few = 3

// Run polls until ctx ends and finishes the reads that are under way while work
// lasts.
func (p *Poller) Run(ctx, work context.Context) {
	repeat(ctx, "poller", p.Health, p.Due, func(context.Context) (bool, error) { return p.Round(ctx, work) })
}

// Round claims instances whose next look is due, reads what they need and
// records what it saw.
func (p *Poller) Round(ctx, work context.Context) (more bool, err error) {
	p.forgetTrouble()
	most, _ := p.unsent.most(p.Served.Projects)
	p.Budget.exhausted(LaneRead, p.Served.Projects, most)
	if none(p.Served.Projects, most) {
		return false, nil
	}
	claims, err := p.Store.ClaimPolls(work, ClaimQuery{Served: p.Served, Worker: p.Worker, Limit: p.Batch, Most: most,
		Lease: p.lease(), Slack: p.Policy.PollInterval / 4})
	if err != nil || len(claims) == 0 {
		return false, err
	}
	err = writeAll(work, "database", p.Health, p.look(ctx, work, claims), p.Store.RecordPolls, p.recordPlain)
	for _, bell := range p.Recorded {
		bell.Ring()
	}
	return len(claims) == p.Batch, err
}

// lease outlasts a round: its reads are started for one CallTimeout, and the
// last of them may take another.
func (p *Poller) lease() time.Duration { return p.Policy.Lease + p.Policy.CallTimeout }

// look reads what the claims need and decides what it means. Jobs get half of
// the time, so that the other half is left for instances. The order is drawn,
// so that what a round does not reach comes first in another.
func (p *Poller) look(ctx, work context.Context, claims []PollClaim) []PollResult {
	rand.Shuffle(len(claims), func(i, j int) { claims[i], claims[j] = claims[j], claims[i] })
	byProject, seen := map[string][]PollClaim{}, map[string]*Poll{}
	var unwanted []PollClaim
	for _, c := range claims {
		if c.Cancelling {
			unwanted = append(unwanted, c)
			continue
		}
		byProject[c.ProjectID] = append(byProject[c.ProjectID], c)
		seen[c.InstanceID] = &Poll{}
	}
	jobs, stopJobs := context.WithTimeout(ctx, p.Policy.CallTimeout/2)
	defer stopJobs()
	instances, stopInstances := context.WithTimeout(ctx, p.Policy.CallTimeout)
	defer stopInstances()
	var projects sync.WaitGroup // one that is slow does not hold up the others
	for project, claims := range byProject {
		projects.Go(func() {
			parallel := max(1, p.Concurrency/len(byProject))
			p.readJobs(p.round(jobs, work, project, parallel), project, claims, seen)
			p.readInstances(p.round(instances, work, project, parallel), project, claims, seen)
		})
	}
	var results []PollResult
	projects.Go(func() { results = p.deleteAll(instances, work, unwanted) })
	projects.Wait()
	for _, claims := range byProject {
		for _, c := range claims {
			results = append(results, p.judge(work, c, *seen[c.InstanceID]))
		}
	}
	return results
}

// round bounds the reads of one round.
type round struct {
	start context.Context // once it has ended no read is started
	work  context.Context // of the reads that were started
	limit time.Duration   // of one read
	note  func(error)     // learns from each read

	parallel int // reads at a time
}

func (p *Poller) round(start, work context.Context, project string, parallel int) round {
	return round{start: start, work: work, limit: p.Policy.CallTimeout, parallel: parallel, note: func(err error) { p.unsent.note(project, err) }}
}

// errNotReached: the time of a round was over before this read could start.
var errNotReached = errors.New("there was no time left to read it in this round")

// read makes one call within its own time limit, or none once the round is over.
func read[T any](r round, call func(context.Context) (T, error)) (T, error) {
	if r.start.Err() != nil {
		var none T
		return none, errNotReached
	}
	ctx, cancel := context.WithTimeout(r.work, r.limit)
	defer cancel()
	v, err := call(ctx)
	if errors.Is(err, errNoSlot) {
		err = errNotReached
	}
	r.note(err)
	return v, err
}

func (p *Poller) judge(ctx context.Context, c PollClaim, seen Poll) PollResult {
	if i := seen.Instance; i != nil && !c.MarksSeen && i.Tags[TagRequest] == c.Mark {
		p.Health.Report("database", p.Store.MarksSeen(ctx, c.ProjectID))
	}
	r := p.Policy.AfterPoll(c, seen)
	if r.State == Failed {
		p.Log.Warn("failed while it was being built", "request", c.RequestID, "instance", c.InstanceID, "error", r.Failure.Message)
	}
	return r
}

// readJobs reads the jobs of one project's claims. A claim without a job's id, a
// prepaid order or an adopted instance, follows its instance.
func (p *Poller) readJobs(r round, project string, claims []PollClaim, seen map[string]*Poll) {
	rest := make([]PollClaim, 0, len(claims))
	for _, c := range claims {
		if c.JobID != "" {
			rest = append(rest, c)
		}
	}
	if len(rest) > 0 && p.lists(project) {
		var err error
		rest, err = p.listJobs(r, project, claims, seen)
		switch {
		case err == nil:
			p.report(jobList(project), nil)
		case errors.Is(err, errNotReached):
		case AsCloudError(err).Class == ClassNotOffered || AsCloudError(err).Class == ClassForbidden:
			p.learn(project)
			err = nil
		default:
			p.report(jobList(project), err)
		}
		if err != nil {
			for _, c := range rest {
				seen[c.InstanceID].Err = err
			}
			return
		}
	}
	inParallel(rest, r.parallel, func(c PollClaim) {
		s := seen[c.InstanceID]
		job, err := read(r, func(ctx context.Context) (Job, error) { return p.Jobs.Job(ctx, project, c.JobID) })
		if err != nil {
			s.Err = ignoreAbsent(err)
			return
		}
		s.Job = &job
	})
}

// jobSkew allows for clocks that differ between us and the cloud.
const jobSkew = 2 * time.Minute

// maxWindow is the longest span that the job list allows (dds-api.md §3.2).
const maxWindow = 30 * 24 * time.Hour

// maxPages is how much of the job list is read in one round.
const maxPages = 50

// listJobs reads the job list from the start of the oldest claim with a job on,
// and returns the claims whose jobs are still to be read, beside an error too. A
// claim without a job's id takes the job that creates its instance if it is on
// the pages that are read, but none is read for it.
func (p *Poller) listJobs(r round, project string, claims []PollClaim, seen map[string]*Poll) ([]PollClaim, error) {
	w := JobWindow{To: time.Now().Add(jobSkew), Limit: pageSize}
	oldest, missing, byInstance := time.Duration(0), map[string]PollClaim{}, map[string]*Poll{}
	for _, c := range claims {
		if c.JobID == "" {
			byInstance[c.InstanceID] = seen[c.InstanceID]
			continue
		}
		missing[c.JobID] = c
		oldest = max(oldest, c.Age)
	}
	w.From = w.To.Add(-min(oldest+2*jobSkew, maxWindow))
	for n := 0; n == 0 || len(missing) > few && n < maxPages; n++ {
		page, err := read(r, func(ctx context.Context) (JobPage, error) { return p.Jobs.Jobs(ctx, project, w) })
		if err != nil {
			return slices.Collect(maps.Values(missing)), err
		}
		for _, j := range page.Jobs {
			if c, ok := missing[j.ID]; ok {
				seen[c.InstanceID].Job = &j
				delete(missing, j.ID)
			} else if s := byInstance[j.InstanceID]; s != nil && strings.HasPrefix(j.Name, "Create") {
				s.Job = &j
			}
		}
		if len(page.Jobs) < w.Limit {
			return nil, nil // that was all: those that are missing follow their instances
		}
		w.Offset += len(page.Jobs)
	}
	return slices.Collect(maps.Values(missing)), nil
}

// readInstances reads the instances that their jobs do not tell enough about:
// many by the list, the others by their ids.
func (p *Poller) readInstances(r round, project string, claims []PollClaim, seen map[string]*Poll) {
	missing := map[string]*Poll{}
	for _, c := range claims {
		if s := seen[c.InstanceID]; p.Policy.needsInstance(c, s.Job) {
			missing[c.InstanceID] = s
		}
	}
	if len(missing) == 0 {
		return
	}
	wanted := slices.Collect(maps.Values(missing))
	if err := p.listInstances(r, project, missing); err != nil {
		for _, s := range missing {
			s.Err = err
		}
	} else {
		inParallel(slices.Collect(maps.Keys(missing)), r.parallel, func(id string) { p.readInstance(r, project, id, missing[id]) })
	}
	p.reportInstances(project, wanted)
}

// reportInstances tells how the list is doing, if it was asked at all.
func (p *Poller) reportInstances(project string, wanted []*Poll) {
	reached, failed := false, error(nil)
	for _, s := range wanted {
		if errors.Is(s.Err, errNotReached) {
			continue
		}
		reached = true
		if s.Err != nil {
			failed = s.Err
		}
	}
	if reached {
		p.report(instanceList(project), failed)
	}
}

// listInstances reads the list, newest first, as long as it tells something
// about more than a few. It takes what it found out of missing.
func (p *Poller) listInstances(r round, project string, missing map[string]*Poll) error {
	q := InstanceQuery{Limit: pageSize}
	for len(missing) > few {
		page, err := read(r, func(ctx context.Context) (InstancePage, error) { return p.Instances.ListInstances(ctx, project, q) })
		if err != nil {
			return err
		}
		before := len(missing)
		for _, i := range page.Instances {
			if s := missing[i.ID]; s != nil {
				s.Instance, s.Err = &i, nil
				delete(missing, i.ID)
			}
		}
		if q.Offset += len(page.Instances); len(missing) == before || q.Offset >= page.Total {
			return nil
		}
	}
	return nil
}

// readInstance reads one instance by its id.
func (p *Poller) readInstance(r round, project, id string, s *Poll) {
	found, err := read(r, func(ctx context.Context) (*Instance, error) { return instanceByID(ctx, p.Instances, project, id) })
	if err != nil {
		s.Err = err
		return
	}
	s.Instance, s.Err, s.Absent = found, nil, found == nil
}

// recordPlain keeps an observation that the database will not take without the
// cloud's words.
func (p *Poller) recordPlain(ctx context.Context, r PollResult, cause error) error {
	p.Log.Error("what was seen cannot be stored as it came", "request", r.RequestID, "instance", r.InstanceID, "error", cause)
	r.Instance, r.FailReason, r.Gone = nil, "", false
	r.State, r.Delay, r.Failure = Building, p.Policy.PollInterval, nil
	return writeAll(ctx, "database", p.Health, []PollResult{r}, p.Store.RecordPolls,
		func(_ context.Context, _ PollResult, err error) error { return err })
}

func jobList(project string) string      { return "job list of " + project }
func instanceList(project string) string { return "instance list of " + project }

// report tells how a part is doing and remembers trouble.
func (p *Poller) report(part string, err error) {
	p.Health.Report(part, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.trouble, part)
	if err == nil {
		return
	}
	if p.trouble == nil {
		p.trouble = map[string]time.Time{}
	}
	p.trouble[part] = time.Now()
}

// forgetTrouble ends the trouble of parts that nothing is read from any more.
func (p *Poller) forgetTrouble() {
	p.mu.Lock()
	trouble := maps.Clone(p.trouble)
	p.mu.Unlock()
	for part, seen := range trouble {
		if time.Since(seen) > p.lease()+2*p.Policy.PollInterval {
			p.report(part, nil)
		}
	}
}

func (p *Poller) lists(project string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().After(p.noList[project])
}

func (p *Poller) learn(project string) {
	p.mu.Lock()
	if p.noList == nil {
		p.noList = map[string]time.Time{}
	}
	p.noList[project] = time.Now().Add(relearn)
	p.mu.Unlock()
	p.report(jobList(project), nil)
	p.Log.Info("this cloud does not list its jobs; they are read one by one", "project", project)
}

// ignoreAbsent drops errors that only say that nothing can be read there: the
// instance is followed instead.
func ignoreAbsent(err error) error {
	ce, ok := errors.AsType[*CloudError](err)
	if ok && (ce.Class == ClassGone || ce.Class == ClassNotOffered || ce.Class == ClassForbidden || ce.Class == ClassInvalid) {
		return nil
	}
	return err
}
