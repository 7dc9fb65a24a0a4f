package provision

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Poller follows instances that are being built: many with one call where the
// cloud lists its jobs, one by one where it does not.
type Poller struct {
	Jobs      JobReader
	Instances InstanceLister
	Store     PollStore
	Policy    Policy
	Served    Served
	Worker    string
	Batch     int // instances looked at in one round
	// Concurrency bounds the calls of a round where they are read one by one.
	Concurrency int
	Health      *Health
	Log         *slog.Logger
	// Due rings when there are new instances; Recorded is rung when what was
	// seen is in the database.
	Due      Bell
	Recorded []Bell

	mu     sync.Mutex
	noList map[string]time.Time // projects without a job list, and until when that is believed
}

// relearn is how long a cloud that does not list its jobs is not asked again.
const relearn = time.Hour

// Run polls until ctx ends and finishes the round that is under way while work
// lasts.
func (p *Poller) Run(ctx, work context.Context) {
	repeat(ctx, "poller", p.Health, p.Due, func(context.Context) (bool, error) {
		claims, err := p.Store.ClaimPolls(work, ClaimQuery{Served: p.Served, Worker: p.Worker, Limit: p.Batch,
			Lease: p.Policy.Lease, Slack: p.Policy.PollInterval / 4})
		if err != nil || len(claims) == 0 {
			return false, err
		}
		call, cancel := context.WithTimeout(work, p.Policy.CallTimeout)
		defer cancel()
		err = writeAll(work, "database", p.Health, p.look(call, claims), p.Store.RecordPolls, p.recordPlain)
		for _, bell := range p.Recorded {
			bell.Ring()
		}
		return len(claims) == p.Batch, err
	})
}

// look reads what the claims need, project by project, and decides what it means.
func (p *Poller) look(ctx context.Context, claims []PollClaim) []PollResult {
	byProject := map[string][]PollClaim{}
	for _, c := range claims {
		byProject[c.ProjectID] = append(byProject[c.ProjectID], c)
	}
	results := make([]PollResult, 0, len(claims))
	for project, claims := range byProject {
		seen := p.readJobs(ctx, project, claims)
		p.readInstances(ctx, project, claims, seen)
		for _, c := range claims {
			results = append(results, p.judge(ctx, c, *seen[c.InstanceID]))
		}
	}
	return results
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

// readJobs reads the jobs of one project's claims; the result has an entry for
// every claim.
func (p *Poller) readJobs(ctx context.Context, project string, claims []PollClaim) map[string]*Poll {
	seen := map[string]*Poll{}
	for _, c := range claims {
		seen[c.InstanceID] = &Poll{}
	}
	if p.lists(project) {
		err := p.listJobs(ctx, project, claims, seen)
		switch {
		case err == nil:
			return seen
		case AsCloudError(err).Class == ClassNotOffered || AsCloudError(err).Class == ClassForbidden:
			p.learn(project)
		default:
			p.Health.Report("job list of "+project, err)
			for _, c := range claims {
				seen[c.InstanceID].Err = err
			}
			return seen
		}
	}
	inParallel(claims, p.Concurrency, func(c PollClaim) {
		if c.JobID == "" { // a prepaid order, or adopted: the instance is followed
			return
		}
		job, err := p.Jobs.Job(ctx, project, c.JobID)
		if err != nil {
			seen[c.InstanceID].Err = ignoreAbsent(err)
			return
		}
		seen[c.InstanceID].Job = &job
	})
	return seen
}

// jobSkew allows for clocks that differ between us and the cloud.
const jobSkew = 2 * time.Minute

// maxWindow is the longest span that the job list allows (dds-api.md §3.2).
const maxWindow = 30 * 24 * time.Hour

// listJobs reads the job list from the start of the oldest claim on. A claim
// without a job finds its own by the instance that it creates.
func (p *Poller) listJobs(ctx context.Context, project string, claims []PollClaim, seen map[string]*Poll) error {
	w := JobWindow{To: time.Now().Add(jobSkew), Limit: pageSize}
	byJob, byInstance := map[string]*Poll{}, map[string]*Poll{}
	for _, c := range claims {
		if c.JobID != "" {
			byJob[c.JobID] = seen[c.InstanceID]
		} else {
			byInstance[c.InstanceID] = seen[c.InstanceID]
		}
		if from := time.Now().Add(-c.Age - jobSkew); w.From.IsZero() || from.Before(w.From) {
			w.From = from
		}
	}
	if oldest := w.To.Add(-maxWindow); w.From.Before(oldest) {
		w.From = oldest
	}
	for len(byJob)+len(byInstance) > 0 {
		page, err := p.Jobs.Jobs(ctx, project, w)
		if err != nil {
			return err
		}
		for _, j := range page.Jobs {
			if s := byJob[j.ID]; s != nil {
				s.Job = &j
				delete(byJob, j.ID)
			} else if s := byInstance[j.InstanceID]; s != nil && strings.HasPrefix(j.Name, "Create") {
				s.Job = &j
				delete(byInstance, j.InstanceID)
			}
		}
		if len(page.Jobs) < w.Limit {
			break
		}
		w.Offset += len(page.Jobs)
	}
	p.Health.Report("job list of "+project, nil)
	return nil
}

// readInstances reads the instances that their jobs say are at their end, or
// whose jobs tell nothing: a few by their ids, many by the whole list.
func (p *Poller) readInstances(ctx context.Context, project string, claims []PollClaim, seen map[string]*Poll) {
	var wanted []PollClaim
	for _, c := range claims {
		if s := seen[c.InstanceID]; s.Err == nil && c.needsInstance(s.Job) {
			wanted = append(wanted, c)
		}
	}
	const few = 3
	if len(wanted) <= few {
		inParallel(wanted, few, func(c PollClaim) {
			page, err := p.Instances.ListInstances(ctx, project, InstanceQuery{ID: c.InstanceID, Limit: 1})
			seen[c.InstanceID].Err = ignoreAbsent(err)
			for _, i := range page.Instances {
				if i.ID == c.InstanceID {
					seen[c.InstanceID].Instance = &i
				}
			}
		})
		return
	}
	if err := p.listInstances(ctx, project, wanted, seen); err != nil {
		for _, c := range wanted {
			if seen[c.InstanceID].Instance == nil {
				seen[c.InstanceID].Err = err
			}
		}
	}
}

// listInstances reads the list, newest first, until all that are wanted were seen.
func (p *Poller) listInstances(ctx context.Context, project string, wanted []PollClaim, seen map[string]*Poll) error {
	missing := map[string]bool{}
	for _, c := range wanted {
		missing[c.InstanceID] = true
	}
	q := InstanceQuery{Limit: pageSize}
	for len(missing) > 0 {
		page, err := p.Instances.ListInstances(ctx, project, q)
		if err != nil {
			return err
		}
		for _, i := range page.Instances {
			if missing[i.ID] {
				seen[i.ID].Instance = &i
				delete(missing, i.ID)
			}
		}
		if q.Offset += len(page.Instances); len(page.Instances) == 0 || q.Offset >= page.Total {
			return nil
		}
	}
	return nil
}

// recordPlain keeps an observation that the database will not take without the
// cloud's words.
func (p *Poller) recordPlain(ctx context.Context, r PollResult, cause error) error {
	p.Log.Error("what was seen cannot be stored as it came", "request", r.RequestID, "instance", r.InstanceID, "error", cause)
	r.Instance, r.FailReason = nil, ""
	r.State, r.Delay, r.Failure = Building, p.Policy.PollInterval, nil
	return writeAll(ctx, "database", p.Health, []PollResult{r}, p.Store.RecordPolls,
		func(_ context.Context, _ PollResult, err error) error { return err })
}

func (p *Poller) lists(project string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().After(p.noList[project])
}

func (p *Poller) learn(project string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.noList == nil {
		p.noList = map[string]time.Time{}
	}
	p.noList[project] = time.Now().Add(relearn)
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
