package provision

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Poller follows instances that are being built. How long builds take decides when
// it looks (due_look.go), and what a call is expected to tell decides which: pages of
// the instance list, pages of the job list, or a single instance or job
// (list_plan.go).
type Poller struct {
	Jobs      JobReader       // paced
	Instances InstanceLister  // paced
	Deleter   InstanceDeleter // paced
	Budget    *Budget         // bounds what is claimed; nil: does not
	Store     PollStore
	Policy    Policy
	Builds    *Experience // nil: only what is documented, and what this poller sees
	Served    Served
	Worker    string
	Batch     int // instances looked at in one round
	// Concurrency bounds the calls of a round; the projects have equal parts of it.
	Concurrency int
	Health      *Health
	Log         *slog.Logger
	// Due rings when there are new instances; Recorded is rung when what was
	// seen is in the database.
	Due      Bell
	Recorded []Bell

	unsent unsent

	mu       sync.Mutex // rounds of several projects read side by side
	once     sync.Once
	projects map[string]*pollProject
	trouble  map[string]time.Time // parts in trouble, and when that was last seen
}

// pollProject is what was learnt about a project of the cloud. One round at a time
// reads pages of it, and has pages.
type pollProject struct {
	pages    chan struct{} // has room for that round
	noList   time.Time     // until when it is believed that it does not list its jobs
	lists    map[string]*listMap
	clock    jobClock
	jobNames map[string]string // by mode, as its job list calls the creation
	rounds   int               // under way; under the poller's lock
}

// maxRounds is how many rounds of a project are under way: one reads while what the
// one before saw is recorded, or while it waits for single slow answers.
const maxRounds = 2

// Run polls until ctx ends and finishes the reads that are under way while work
// lasts. While a round is recorded the next one reads.
func (p *Poller) Run(ctx, work context.Context) {
	results := make(chan []PollResult, 8)
	var rounds, recorder sync.WaitGroup
	recorder.Go(func() { p.recordAll(work, results) })
	failures, last := 0, time.Now()
	for ctx.Err() == nil {
		began := time.Now()
		claimed, err := p.begin(ctx, work, &rounds, func(r []PollResult) { results <- r })
		p.Health.Report("poller", err)
		switch {
		case err != nil:
			failures++
			Bell(nil).wait(ctx, expDelay(pauseMin, pauseMax, failures))
			continue
		case claimed < p.Batch:
			// What becomes due meanwhile is read together.
			pause := p.together(claimed, began.Sub(last))
			Bell(nil).wait(ctx, pause)
			p.Due.wait(ctx, idle-pause)
		}
		failures, last = 0, began
	}
	rounds.Wait()
	close(results)
	recorder.Wait()
}

// worthARound is how many builds are rather read together: the more, the fewer pages
// tell of them in part.
const worthARound = 4 * pageSize

// together is how long to wait until enough are due, where so many became due in the
// time since the claim before.
func (p *Poller) together(claimed int, since time.Duration) time.Duration {
	least := max(p.Policy.PollInterval/8, 20*time.Millisecond)
	if claimed <= few {
		return min(least, idle)
	}
	return min(max(since*worthARound/time.Duration(claimed), least), max(p.Policy.PollInterval, least), idle)
}

// Round claims instances whose next look is due, reads what they need and records
// what it saw. It is a turn of Run that waits for all of it.
func (p *Poller) Round(ctx, work context.Context) (more bool, err error) {
	var mu sync.Mutex
	var results []PollResult
	var rounds sync.WaitGroup
	claimed, err := p.begin(ctx, work, &rounds, func(r []PollResult) {
		mu.Lock()
		defer mu.Unlock()
		results = append(results, r...)
	})
	rounds.Wait()
	if err != nil || len(results) == 0 {
		return claimed == p.Batch, err
	}
	return claimed == p.Batch, p.record(work, results)
}

// begin claims what is due and begins to read it, for each project by itself. What
// it sees is handed to emit as it comes.
func (p *Poller) begin(ctx, work context.Context, rounds *sync.WaitGroup, emit func([]PollResult)) (claimed int, err error) {
	p.once.Do(p.learnFromNothing)
	p.forgetTrouble()
	p.Health.Report("build times", p.Builds.share(work, p.Store, p.Served.Projects))
	most := p.unsent.most(p.Served.Projects)
	p.Budget.exhausted(LaneRead, p.Served.Projects, most)
	p.leaveOut(most)
	if none(p.Served.Projects, most) {
		return 0, nil
	}
	asked := time.Now() // claims are as old as they say since then, at least
	claims, err := p.Store.ClaimPolls(work, ClaimQuery{Served: p.Served, Worker: p.Worker, Limit: p.Batch, Most: most,
		Lease: p.lease(), Slack: p.Policy.together(p.Policy.PollInterval)})
	if err != nil || len(claims) == 0 {
		return 0, err
	}
	byProject := map[string][]PollClaim{}
	for _, c := range claims {
		byProject[c.ProjectID] = append(byProject[c.ProjectID], c)
	}
	parallel := max(1, p.Concurrency/len(byProject))
	for id, claims := range byProject {
		project := p.enter(id)
		rounds.Go(func() {
			defer p.leave(project)
			p.readProject(ctx, work, id, project, claims, asked, parallel, emit)
		})
	}
	return len(claims), nil
}

func (p *Poller) learnFromNothing() {
	if p.Builds == nil {
		p.Builds = NewExperience(p.Policy.UsualMin, p.Policy.UsualMax)
	}
}

// lease outlasts a round: its reads are started for one CallTimeout, and the
// last of them may take another.
func (p *Poller) lease() time.Duration { return p.Policy.Lease + p.Policy.CallTimeout }

// leaveOut leaves out projects of which enough rounds are under way.
func (p *Poller) leaveOut(most map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, project := range p.projects {
		if project.rounds >= maxRounds {
			most[id] = 0
		}
	}
}

func (p *Poller) enter(id string) *pollProject {
	p.mu.Lock()
	defer p.mu.Unlock()
	project := p.projects[id]
	if project == nil {
		if p.projects == nil {
			p.projects = map[string]*pollProject{}
		}
		project = &pollProject{pages: make(chan struct{}, 1), lists: map[string]*listMap{}, jobNames: map[string]string{}}
		p.projects[id] = project
	}
	project.rounds++
	return project
}

func (p *Poller) leave(project *pollProject) {
	p.mu.Lock()
	full := project.rounds >= maxRounds
	project.rounds--
	p.mu.Unlock()
	if full {
		p.Due.Ring()
	}
}

// maxRecorded is how many results are written with one statement: so few that those of
// other loops need not wait long for the same disk and processors.
const maxRecorded = 200

// recordAll writes results until there are no more: whatever has come while the ones
// before were being written goes together.
func (p *Poller) recordAll(work context.Context, results <-chan []PollResult) {
	for batch := range results {
		for more := true; more && len(batch) < maxRecorded; {
			select {
			case next, ok := <-results:
				batch, more = append(batch, next...), ok
			default:
				more = false
			}
		}
		for few := range slices.Chunk(batch, maxRecorded) {
			_ = p.record(work, few) // reported; what is lost is due again when its lease ends
		}
	}
}

// record writes what was seen. Delays count from when they were decided.
func (p *Poller) record(work context.Context, batch []PollResult) error {
	for n, r := range batch {
		if !r.decided.IsZero() {
			batch[n].Delay = max(0, r.Delay-time.Since(r.decided))
		}
	}
	err := writeAll(work, p.Health, batch, p.Store.RecordPolls, p.recordPlain)
	ring(p.Recorded)
	return err
}

// recordPlain keeps an observation that the database will not take without the
// cloud's words.
func (p *Poller) recordPlain(ctx context.Context, r PollResult, cause error) error {
	p.Log.Error("what was seen cannot be stored as it came", "request", r.RequestID, "instance", r.InstanceID, "error", cause)
	r.Instance, r.FailReason, r.Gone = nil, "", false
	r.State, r.Delay, r.Failure = Building, p.Policy.DetectionTarget, nil
	return writeOne(ctx, p.Health, r, p.Store.RecordPolls)
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

// troubleLife is how long trouble is believed in that nobody sees any more.
const troubleLife = 2 * time.Minute

// forgetTrouble ends the trouble of parts that nothing is read from any more.
func (p *Poller) forgetTrouble() {
	p.mu.Lock()
	trouble := maps.Clone(p.trouble)
	p.mu.Unlock()
	for part, seen := range trouble {
		if time.Since(seen) > troubleLife {
			p.report(part, nil)
		}
	}
}
