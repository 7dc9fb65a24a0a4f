package provision

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Creator claims due requests, calls the cloud once for each and records what
// came of it.
type Creator struct {
	Cloud        InstanceCreator
	Budget       *Budget // lets calls pass; nil: at once
	Store        CreateStore
	Sealer       Sealer
	Policy       Policy
	Builds       *Experience // says when to look first; nil: soon
	Served       Served
	Worker       string // who claims
	Installation string // the value of the tag provision-by
	Dialect      Dialect
	Concurrency  int // calls at a time
	Health       *Health
	Log          *slog.Logger
	// Due rings when requests may be due; Recorded is rung when outcomes are
	// in the database.
	Due      Bell
	Recorded []Bell

	// Unsettled is rung when there are outcomes among them that a look may follow,
	// Claimable when there are requests that anybody may claim at once.
	Unsettled, Claimable []Bell

	unsent unsent
	desk   desk
}

// Run creates until ctx ends; then it takes no more, and finishes what is in
// flight while work lasts.
func (c *Creator) Run(ctx, work context.Context) {
	desk := c.atDesk()
	outcomes := newCollector(c.Concurrency, c.record)
	recording, stop := context.WithCancel(work)
	var recorder, handing, calls sync.WaitGroup
	recorder.Go(func() { outcomes.run(recording) })

	// What a goroutine grew its stack for serves the next call.
	idle := make(chan held)
	start := func(claims []held) {
		for _, claim := range claims {
			select {
			case idle <- claim:
			default:
				calls.Go(func() {
					for next, more := claim, true; more; {
						c.createOne(ctx, work, next, outcomes)
						select {
						case next = <-idle:
						case <-ctx.Done():
							more = false
						}
					}
				})
			}
		}
	}
	handing.Go(func() {
		for {
			select {
			case <-desk.hand:
				start(desk.handed())
			case <-ctx.Done():
				return
			}
		}
	})
	repeat(ctx, "creator", c.Health, c.Due, func(ctx context.Context) (bool, error) {
		desk.idle.set(false)
		c.rest(ctx)
		claims, more, err := c.claim(work)
		start(claims)
		return more && desk.room.free() > 0, err
	})
	handing.Wait()
	start(desk.close(work)) // which gives them back
	calls.Wait()
	stop()
	recorder.Wait()
}

// createOne makes the call of a claim and has its outcome recorded. Another call may
// have its place as soon as it has ended, but the next claims wait for the database
// when it is behind.
func (c *Creator) createOne(ctx, work context.Context, claim held, outcomes *collector[CreateResult]) {
	again := func() {
		if !c.desk.idle.is() {
			c.Due.Ring()
		}
	}
	result := c.create(ctx, work, claim)
	c.desk.unrecorded.enter(claim.ProjectID)
	c.inFlight().leave(claim.ProjectID)
	again()
	if err := outcomes.put(work, result); err != nil {
		c.Log.Warn("an outcome could not be recorded before the worker stopped; the request is looked for when its lease ends",
			"request", claim.RequestID, "attempt", claim.Attempt, "outcome", result.Outcome)
	}
	if c.desk.unrecorded.leave(claim.ProjectID) == 1 {
		again()
	}
}

// Round claims what is due, calls, and records what came of it. It is a turn of
// Run that waits for its calls.
func (c *Creator) Round(ctx, work context.Context) (more bool, err error) {
	claims := c.desk.handed()
	due, more, err := c.claim(work)
	if claims = append(claims, due...); len(claims) == 0 {
		return false, err
	}
	results := make([]CreateResult, len(claims))
	inParallel(indices(claims), c.Concurrency, func(i int) {
		results[i] = c.create(ctx, work, claims[i])
		c.inFlight().leave(claims[i].ProjectID)
	})
	return more, errors.Join(err, c.record(work, results))
}

// bounds is how much may be called of a project, where that is less than everything.
func (c *Creator) bounds() map[string]int {
	most := c.unsent.most(c.Served.Projects)
	c.Budget.most(LaneCreate, c.Served.Projects, most)
	return most
}

// claimable is how much may be claimed now, of all projects and of each: what can
// be sent, what the rate budget has slots for soon, and what there is room for.
func (c *Creator) claimable() (limit int, most map[string]int) {
	if c.atDesk().unrecorded.free() == 0 {
		return 0, nil
	}
	most = c.bounds()
	limit = c.inFlight().most(c.Served.Projects, most)
	if none(c.Served.Projects, most) {
		return 0, nil
	}
	return limit, most
}

// claim takes what is due, and reports whether there may be more.
func (c *Creator) claim(ctx context.Context) (claims []held, more bool, err error) {
	select {
	case c.atDesk().claims <- struct{}{}:
		defer func() { <-c.desk.claims }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	limit, most := c.claimable()
	if limit == 0 {
		return nil, false, nil
	}
	claims, err = c.take(limit, most, func(q ClaimQuery) ([]CreateClaim, error) { return c.Store.ClaimCreates(ctx, q) })
	if err == nil {
		c.desk.backlog = len(claims) == limit
		c.desk.idle.set(!c.desk.backlog && len(most) == 0)
	}
	return claims, err == nil && len(claims) == limit, err
}

// take claims with a statement and lets the claims in. Their calls end before the
// deadline, which is measured from before the statement was sent and so ends before
// the lease does.
func (c *Creator) take(limit int, most map[string]int, statement func(ClaimQuery) ([]CreateClaim, error)) ([]held, error) {
	deadline := time.Now().Add(c.Policy.CallTimeout)
	claims, err := statement(ClaimQuery{Served: c.Served, Worker: c.Worker,
		Limit: limit, Most: most, Lease: c.Policy.Lease, Settle: c.Policy.Settle()})
	out := make([]held, len(claims))
	for i, claim := range claims {
		c.inFlight().enter(claim.ProjectID)
		out[i] = held{claim, deadline}
	}
	return out, err
}

// create makes the one call of a claim, before its deadline.
func (c *Creator) create(ctx, work context.Context, claim held) CreateResult {
	began := time.Now()
	call, cancel := context.WithDeadline(work, claim.deadline)
	defer cancel()
	var created Created
	spec, err := readSpec(claim.Spec)
	if err != nil {
		err = &CloudError{Op: "write the body", Class: ClassInvalid, Message: err.Error(), Err: err}
	} else {
		created, err = c.call(ctx, call, claim.CreateClaim, spec)
	}
	result := c.Policy.AfterCreate(claim.CreateClaim, created, err)
	if result.Outcome == OutcomeCreated {
		result.Next.Delay = c.Policy.FirstLook(c.Builds, spec.kind(claim.ProjectID), time.Now())
	}
	result.Took = time.Since(began)
	c.log(claim.CreateClaim, result)
	return result
}

// errStopping marks a claim that is given back because the worker stops.
var errStopping = errors.New("the worker stops")

func (c *Creator) call(ctx, call context.Context, claim CreateClaim, spec storedSpec) (Created, error) {
	if ctx.Err() != nil {
		return Created{}, &CloudError{Op: "create instance", Class: ClassNotSent, Message: "the worker stopped before the call", Err: errStopping}
	}
	if err := c.Budget.Wait(call, claim.ProjectID, LaneCreate); err != nil {
		c.heard(claim.ProjectID, err)
		return Created{}, err
	}
	password, err := c.open(claim, spec)
	if err != nil {
		return Created{}, err
	}
	var tags []Tag
	if c.Dialect.TakesTags() {
		tags = []Tag{{Key: TagRequest, Value: claim.Mark}, {Key: TagInstallation, Value: c.Installation}}
	}
	created, err := c.Cloud.CreateInstance(call, claim.ProjectID, spec.body(password, tags...))
	c.heard(claim.ProjectID, err)
	c.Budget.Answered(claim.ProjectID, err)
	return created, err
}

// heard learns how calls to a project do.
func (c *Creator) heard(project string, err error) {
	c.Health.reportCloud(err)
	c.unsent.note(project, err)
}

// unopened is the code of a password that this worker has no key for, and
// maxUnopened how often in a row that is tried: every worker has had its turns
// then, over some minutes, and nobody else will come.
const (
	unopened    = "UNOPENED"
	maxUnopened = 10
)

// open opens the password right before the call. One that was sealed by its
// publisher is seen here for the first time.
func (c *Creator) open(claim CreateClaim, spec storedSpec) (Secret, error) {
	if claim.SealedPassword == nil {
		return Secret{}, nil
	}
	password, err := c.Sealer.Open(claim.SealedPassword, claim.RequestID)
	if errors.Is(err, ErrSealBroken) {
		return Secret{}, &CloudError{Op: "open the sealed password", Class: ClassInvalid, Message: err.Error(), Err: err}
	}
	c.Health.Report("sealed passwords", err)
	if err != nil { // another worker may hold the key
		return Secret{}, &CloudError{Op: "open the sealed password", Class: ClassNotSent, Limit: maxUnopened, Then: ClassInvalid,
			Code: unopened, Message: err.Error(), Err: err}
	}
	if !c.Sealer.Kept(claim.SealedPassword) { // it was checked when it came
		return password, nil
	}
	if err := c.Dialect.checkOpened(spec, password); err != nil {
		return Secret{}, &CloudError{Op: "check the sealed password", Class: ClassInvalid, Message: err.Error(), Err: err}
	}
	return password, nil
}

// record writes a batch of outcomes, whatever it takes.
func (c *Creator) record(ctx context.Context, batch []CreateResult) error {
	err := writeAll(ctx, c.Health, batch, c.Store.RecordCreates, c.recordAsUnknown)
	ring(c.Recorded)
	if slices.ContainsFunc(batch, func(r CreateResult) bool { return r.Next.State == Pending || r.Next.State == Creating }) {
		ring(c.Unsettled)
	}
	if slices.ContainsFunc(batch, func(r CreateResult) bool { return r.Next.claimable() }) {
		ring(c.Claimable)
	}
	return err
}

// recordAsUnknown keeps an outcome that the database will not take as one that
// is unknown: a look then finds what came of it.
func (c *Creator) recordAsUnknown(ctx context.Context, r CreateResult, cause error) error {
	c.Log.Error("an outcome cannot be stored as it came; it is looked for", "request", r.RequestID, "attempt", r.Attempt, "error", cause)
	r.Failure = &Failure{Class: ClassLost, HTTPStatus: r.Created.HTTPStatus, Message: fmt.Sprintf(
		"the cloud's answer could not be stored: instance %.80q, job %.80q", r.Created.InstanceID, r.Created.JobID)}
	r.Outcome, r.Created = OutcomeUnknown, Created{}
	r.Next = Next{State: Creating, Delay: c.Policy.LookMin, WaitingFor: "a look whether the call worked"}
	return writeOne(ctx, c.Health, r, c.Store.RecordCreates)
}

func (c *Creator) log(claim CreateClaim, r CreateResult) {
	if r.Next.State != Failed && !c.Log.Enabled(context.Background(), slog.LevelDebug) {
		return // as almost always
	}
	log := c.Log.With("request", claim.RequestID, "attempt", claim.Attempt, "outcome", r.Outcome, "took", r.Took.Round(time.Millisecond))
	switch {
	case r.Failure == nil:
		log.Debug("created", "instance", r.Created.InstanceID, "job", r.Created.JobID, "cloud_request", r.Created.CloudRequestID)
	case r.Next.State == Failed:
		log.Warn("refused by the cloud", "code", r.Failure.Code, "message", r.Failure.Message, "cloud_request", r.Failure.CloudRequestID)
	default:
		log.Debug("not created yet", "code", r.Failure.Code, "message", r.Failure.Message, "next", r.Next.State, "in", r.Next.Delay)
	}
}
