// Package storetest has what tests of the loops need of a store: one in memory,
// and the suite that it passes just as Postgres does.
//
// The one in memory goes by the process's clock, so it keeps virtual time in
// testing/synctest. Each of its methods is one transaction. It makes no attempt to
// be fast.
package storetest

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"ddsworker/internal/provision"
)

// Memory is a store.
type Memory struct {
	mu         sync.Mutex
	ahead      time.Duration // of the process's clock
	made       int           // marks
	requests   map[string]*request
	rejections []provision.Rejection
	attempts   map[string][]*attempt // by request, in their order
	instances  map[string]*instance
	jobs       map[string]*job
	jobsOf     map[string]*job                                     // by instance, the first
	builds     map[provision.BuildKind]map[int]provision.BuildSpan // by kind and span
	orphans    map[string]provision.Instance
	marksSeen  map[string]bool // by project
	events     []*event
	batched    int        // how many of them came to the outbox
	outbox     [][]*event // in batches
	relayed    uint64     // place in the stream up to which all is noted
	leading    bool
	budgets    map[string]provision.BudgetState
}

type request struct {
	provision.NewRequest
	state           provision.State
	sealed          []byte
	hadPassword     bool
	mark            string
	due             time.Time
	waitingFor      string
	lookFirst       bool
	claimedBy       string
	fence           int64
	attempts        int
	settledAttempts int // made with an older mark
	looks           int
	firstAttempt    time.Time
	waited          time.Duration
	settledAt       time.Time
	namesakes       []string
	failure         provision.Failure
	repeats         int
	cancelWished    time.Time
	retried         time.Time
	renewMark       bool
}

type attempt struct {
	number      int
	fence       int64
	outcome     provision.Outcome
	failure     provision.Failure
	reported    bool
	instanceID  string
	jobID       string
	intended    time.Time
	neverCalled bool // what it was intended for did not leave
}

type instance struct {
	id, requestID, projectID, orderID string
	adopted                           bool
	status                            string
	due                               time.Time // zero: nobody looks
	looks                             int
	created, seen, deleting, gone     time.Time
	updated                           time.Time
}

type job struct {
	id, requestID, instanceID, status string
	progress                          int
}

type event struct {
	provision.Event
	published bool
}

// NewMemory returns an empty one.
func NewMemory() *Memory {
	return &Memory{requests: map[string]*request{}, attempts: map[string][]*attempt{}, instances: map[string]*instance{},
		jobs: map[string]*job{}, jobsOf: map[string]*job{}, builds: map[provision.BuildKind]map[int]provision.BuildSpan{}, orphans: map[string]provision.Instance{}, marksSeen: map[string]bool{},
		budgets: map[string]provision.BudgetState{}}
}

// Jump moves the store's clock against the process's.
func (m *Memory) Jump(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ahead += d
}

// now is the store's time; m.mu is held, as in all that follows.
func (m *Memory) now() time.Time { return time.Now().Add(m.ahead) }

func (m *Memory) newMark() string {
	m.made++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", m.made)
}

func (m *Memory) tell(requestID, kind string, state provision.State, more func(*provision.Event)) {
	e := &event{Event: provision.Event{ID: int64(len(m.events) + 1), RequestID: requestID, At: m.now(), Kind: kind, State: state}}
	if more != nil {
		more(&e.Event)
	}
	m.events = append(m.events, e)
}

func eventError(f provision.Failure) *provision.EventError {
	if f.Code == "" && f.Message == "" {
		return nil
	}
	return &provision.EventError{Code: f.Code, Message: f.Message, Class: string(f.Class)}
}

// held is the instance that is recorded for a request and not gone.
func (m *Memory) held(requestID string) *instance {
	for _, i := range m.instances {
		if i.requestID == requestID && i.gone.IsZero() {
			return i
		}
	}
	return nil
}

// gone are the instances of a request that were taken for gone.
func (m *Memory) gone(requestID string) (ids []string) {
	for _, i := range m.instances {
		if i.requestID == requestID && !i.gone.IsZero() {
			ids = append(ids, i.id)
		}
	}
	return ids
}

func (m *Memory) jobOf(instanceID string) *job { return m.jobsOf[instanceID] }

// addJob keeps a job that is new.
func (m *Memory) addJob(j *job) *job {
	m.jobs[j.id] = j
	if m.jobsOf[j.instanceID] == nil {
		m.jobsOf[j.instanceID] = j
	}
	return j
}

// age is the time since the first call, without what was spent waiting.
func (m *Memory) age(r *request) time.Duration {
	if r.firstAttempt.IsZero() {
		return 0
	}
	return m.now().Sub(r.firstAttempt) - r.waited
}

// outcomes are those of the attempts from a number on that are still of weight.
func (m *Memory) mayHaveRun(r *request, before int, outcomes ...provision.Outcome) bool {
	for _, a := range m.attempts[r.ID] {
		if a.number > r.settledAttempts && a.number < before && slices.Contains(outcomes, cmp.Or(a.outcome, provision.OutcomeUnknown)) {
			return true
		}
	}
	return false
}

// claimable is what waits for a claim: its project, and since when it is due.
type claimable struct {
	id, project string
	due         time.Time
}

// fairly picks up to q.Limit of what is due; the projects take turns.
func (m *Memory) fairly(q provision.ClaimQuery, all []claimable) []string {
	byProject := map[string][]claimable{}
	for _, c := range all {
		if slices.Contains(q.Served.Projects, c.project) && !c.due.IsZero() && !c.due.After(m.now().Add(q.Slack)) {
			byProject[c.project] = append(byProject[c.project], c)
		}
	}
	projects := slices.Sorted(maps.Keys(byProject))
	for _, p := range projects {
		slices.SortFunc(byProject[p], func(a, b claimable) int { return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.id, b.id)) })
		if most, bounded := q.Most[p]; bounded {
			byProject[p] = byProject[p][:min(most, len(byProject[p]))]
		}
	}
	rand.Shuffle(len(projects), func(i, j int) { projects[i], projects[j] = projects[j], projects[i] })
	var taken []string
	for turn := 0; len(taken) < q.Limit; turn++ {
		before := len(taken)
		for _, p := range projects {
			if turn < len(byProject[p]) && len(taken) < q.Limit {
				taken = append(taken, byProject[p][turn].id)
			}
		}
		if len(taken) == before {
			break
		}
	}
	return taken
}

// waiting are the requests that may be claimed.
func (m *Memory) waiting(q provision.ClaimQuery, may func(*request) bool) []string {
	var all []claimable
	for id, r := range m.requests {
		if r.Region == q.Served.Region && may(r) {
			all = append(all, claimable{id, r.ProjectID, r.due})
		}
	}
	return m.fairly(q, all)
}
