package provision

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// reading is one round of one project: it reads what its claims need, many at once
// first, and then what is left one by one.
type reading struct {
	p        *Poller
	id       string // of the project
	project  *pollProject
	began    time.Time       // of the round: what claims are as old as they say
	parallel int             // reads at a time
	ctx      context.Context // the loop's
	work     context.Context
	jobs     context.Context // once it has ended no read of a job is started
	start    context.Context // nor any other read
	watching []*watched
	emit     func([]PollResult)
}

// watched is a claim and what a round saw of it.
type watched struct {
	claim  PollClaim
	builds expected
	poll   Poll
	// ripe: it may well have ended, so the instance is read, which decides.
	ripe bool
	late bool // hardly any build takes so long
	// ended: the job list does not show its job running any more.
	ended bool
	done  bool // nothing more is to be read
	told  bool // what that means was handed on
}

// few is how many jobs or instances are rather read one by one than looked for
// on another page.
const few = 2

// readProject reads what the claims need and decides what it means. Jobs get half of
// the time, so that the other half is left for instances. The order is drawn,
// so that what a round does not reach comes first in another.
func (p *Poller) readProject(ctx, work context.Context, id string, project *pollProject, claims []PollClaim, asked time.Time, parallel int, emit func([]PollResult)) {
	rand.Shuffle(len(claims), func(i, j int) { claims[i], claims[j] = claims[j], claims[i] })
	jobs, stopJobs := context.WithTimeout(ctx, p.Policy.CallTimeout/2)
	defer stopJobs()
	start, stopAll := context.WithTimeout(ctx, p.Policy.CallTimeout)
	defer stopAll()
	r := &reading{p: p, id: id, project: project, began: asked, parallel: parallel, ctx: ctx, work: work, jobs: jobs, start: start, emit: emit}
	var unwanted []PollClaim
	for _, c := range claims {
		if c.Cancelling {
			unwanted = append(unwanted, c)
			continue
		}
		r.watching = append(r.watching, p.newWatched(c))
	}
	project.pages <- struct{}{} // for as long as the one before may still read
	r.readMany()
	<-project.pages
	r.tell()
	singles := make([]func(), 0, len(unwanted)+len(r.watching))
	for _, c := range unwanted {
		singles = append(singles, func() { emit([]PollResult{r.deleteOne(c)}) })
	}
	for _, l := range r.watching {
		if !l.done {
			singles = append(singles, func() {
				r.readSingle(l)
				emit([]PollResult{r.judge(l)})
			})
		}
	}
	inParallel(singles, parallel, func(read func()) { read() })
	r.reportInstances()
}

func (p *Poller) newWatched(c PollClaim) *watched {
	l := &watched{claim: c, builds: p.Builds.of(BuildKind{c.ProjectID, c.Mode, c.Flavor})}
	l.late = l.builds.isLate(c.Age)
	likely := l.builds.curve.between(max(0, c.Age-c.Since), c.Age) >= worthALook*4/10
	l.ripe = c.JobID == "" || p.Policy.mustSee(c) || likely && !l.late && (l.builds.seen || c.Age > p.Policy.UsualMin)
	return l
}

func (r *reading) created(l *watched) time.Time { return r.began.Add(-l.claim.Age) }

// tell hands on the results of all that needs no more reads.
func (r *reading) tell() {
	var results []PollResult
	for _, l := range r.watching {
		if l.done && !l.told {
			l.told = true
			results = append(results, r.judge(l))
		}
	}
	if len(results) > 0 {
		r.emit(results)
	}
}

func (r *reading) judge(l *watched) PollResult {
	p, c, seen := r.p, l.claim, l.poll
	if i := seen.Instance; i != nil && !c.MarksSeen && i.Tags[TagRequest] == c.Mark {
		p.Health.wrote(p.Store.NoteMarksSeen(r.work, c.ProjectID), 0)
	}
	// Its age by now: what was seen was so a little earlier.
	now := time.Now()
	age := c.Age + now.Sub(r.began)
	res := p.Policy.AfterPoll(c, seen, p.Policy.nextLook(l.builds, now, age))
	res.decided = now
	if res.State == Failed {
		p.Log.Warn("failed while it was being built", "request", c.RequestID, "instance", c.InstanceID, "error", res.Failure.Message)
	}
	if seen.Err == nil && (seen.Job != nil || seen.Instance != nil) && (res.State == Building || res.State == Ready) {
		p.Builds.See(BuildKind{c.ProjectID, c.Mode, c.Flavor}, max(0, c.Age-c.Since), age, res.State == Ready)
	}
	return res
}

// errNotReached: the time of a round was over before this read could start.
var errNotReached = errors.New("there was no time left to read it in this round")

// read makes one call within its own time limit, or none once start has ended.
func read[T any](r *reading, start context.Context, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(r.work, r.p.Policy.CallTimeout)
	defer cancel()
	return readIn(ctx, r, start, call)
}

// readIn makes a call in a context of its own. What has begun goes on.
func readIn[T any](ctx context.Context, r *reading, start context.Context, call func(context.Context) (T, error)) (T, error) {
	if start.Err() != nil && !errandOf(ctx).hasBegun() {
		var none T
		return none, errNotReached
	}
	v, err := call(ctx)
	if errors.Is(err, errNoSlot) {
		err = errNotReached
	}
	r.p.unsent.note(r.id, err)
	return v, err
}

// errand is the context of the calls that are made for one claim alone. Its lease is
// still as long as one of them may take.
func (r *reading) errand(c PollClaim) context.Context {
	p := r.p
	e := &errand{patient: r.ctx, limit: p.Policy.CallTimeout, until: time.Now().Add(p.Policy.CallTimeout),
		keep: func(ctx context.Context) (bool, error) { return p.Store.KeepPoll(ctx, c.InstanceID, p.lease()) }}
	return e.in(r.work)
}

// readSingle reads what is left of one build: its job, if that may well run, and
// else its instance.
func (r *reading) readSingle(l *watched) {
	ctx := r.errand(l.claim)
	if !l.ripe && !l.ended && l.poll.Job == nil && l.poll.Instance == nil {
		if r.readJob(ctx, r.jobs, l); l.poll.Job != nil && l.poll.Job.Status == JobRunning {
			return
		}
	}
	if l.poll.Instance == nil {
		r.readInstance(ctx, l)
	}
	if l.needsReason() {
		r.readJob(ctx, r.start, l)
	}
}

// unknownJob is how long a job may be unknown after its instance was created.
const unknownJob = 30 * time.Second

// needsReason reports whether its job is to be read too, which tells whether it
// failed, and why.
func (l *watched) needsReason() bool {
	i := l.poll.Instance
	if l.claim.JobID == "" || l.poll.Job != nil || i == nil || i.Status == InstanceNormal {
		return false
	}
	return i.Status == InstanceCreateFail || (l.ended || l.late) && l.claim.Age > unknownJob
}

func (r *reading) readJob(ctx, start context.Context, l *watched) {
	job, err := readIn(ctx, r, start, func(ctx context.Context) (Job, error) { return r.p.Jobs.Job(ctx, r.id, l.claim.JobID) })
	if err != nil {
		l.poll.Err = errors.Join(l.poll.Err, ignoreAbsent(err))
		return
	}
	l.poll.Job = &job
}

// readInstance reads one instance by its id.
func (r *reading) readInstance(ctx context.Context, l *watched) {
	found, err := readIn(ctx, r, r.start, func(ctx context.Context) (*Instance, error) {
		return instanceByID(ctx, r.p.Instances, r.id, l.claim.InstanceID)
	})
	if err != nil {
		l.poll.Err = err
		return
	}
	l.poll.Instance, l.poll.Err, l.poll.Absent = found, nil, found == nil
}

// reportInstances tells how the list is doing, if it was asked at all.
func (r *reading) reportInstances() {
	reached, failed := false, error(nil)
	for _, l := range r.watching {
		switch {
		case errors.Is(l.poll.Err, errNotReached):
		case l.poll.Err != nil:
			reached, failed = true, l.poll.Err
		case l.poll.Instance != nil || l.poll.Absent:
			reached = true
		}
	}
	if reached {
		r.p.report(instanceList(r.id), failed)
	}
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
