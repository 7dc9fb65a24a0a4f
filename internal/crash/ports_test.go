package crash

import (
	"context"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
)

// rows is the store as a process sees it. Each method is one transaction.
type rows struct {
	*process
	g *ground
}

// db is the store, whose clock is set.
func (r rows) db() *store.Store {
	r.g.setClock()
	return r.g.db
}

func (r rows) Accept(ctx context.Context, batch []provision.NewRequest, q provision.ClaimQuery) ([]provision.Acceptance, error) {
	return take(r.process, "accept", func() ([]provision.Acceptance, error) { return r.db().Accept(ctx, batch, q) })
}

func (r rows) Reject(ctx context.Context, batch []provision.Rejection) ([]bool, error) {
	return take(r.process, "reject", func() ([]bool, error) { return r.db().Reject(ctx, batch) })
}

func (r rows) ClaimCreates(ctx context.Context, q provision.ClaimQuery) ([]provision.CreateClaim, error) {
	return take(r.process, "claim creates", func() ([]provision.CreateClaim, error) { return r.db().ClaimCreates(ctx, q) })
}

func (r rows) RecordCreates(ctx context.Context, batch []provision.CreateResult) error {
	return write(r.process, "record creates", func() error { return r.db().RecordCreates(ctx, batch) })
}

func (r rows) ClaimLooks(ctx context.Context, q provision.ClaimQuery) ([]provision.LookClaim, error) {
	return take(r.process, "claim looks", func() ([]provision.LookClaim, error) { return r.db().ClaimLooks(ctx, q) })
}

func (r rows) RecordLooks(ctx context.Context, batch []provision.LookResult) error {
	return write(r.process, "record looks", func() error { return r.db().RecordLooks(ctx, batch) })
}

func (r rows) KeepLook(ctx context.Context, requestID string, fence int64, lease time.Duration) (bool, error) {
	return read(r.process, "keep a look", func() (bool, error) { return r.db().KeepLook(ctx, requestID, fence, lease) })
}

func (r rows) KeepPoll(ctx context.Context, instanceID string, lease time.Duration) (bool, error) {
	return read(r.process, "keep a poll", func() (bool, error) { return r.db().KeepPoll(ctx, instanceID, lease) })
}

func (r rows) NoteMarksSeen(ctx context.Context, projectID string) error {
	return write(r.process, "marks seen", func() error { return r.db().NoteMarksSeen(ctx, projectID) })
}

func (r rows) KnownInstances(ctx context.Context, ids []string) (map[string]bool, error) {
	return read(r.process, "known instances", func() (map[string]bool, error) { return r.db().KnownInstances(ctx, ids) })
}

func (r rows) ClaimPolls(ctx context.Context, q provision.ClaimQuery) ([]provision.PollClaim, error) {
	return take(r.process, "claim polls", func() ([]provision.PollClaim, error) { return r.db().ClaimPolls(ctx, q) })
}

// LearnBuilds is no step: losing it costs a few calls.
func (r rows) LearnBuilds(ctx context.Context, projects []string, seen []provision.BuildSpan) ([]provision.BuildSpan, error) {
	return r.db().LearnBuilds(ctx, projects, seen)
}

func (r rows) RecordPolls(ctx context.Context, batch []provision.PollResult) error {
	return write(r.process, "record polls", func() error { return r.db().RecordPolls(ctx, batch) })
}

func (r rows) Lead(ctx context.Context) (func(), bool, error) { return r.db().Lead(ctx) }

func (r rows) Unpublished(ctx context.Context, limit int) (events []provision.Event, after uint64, err error) {
	events, err = read(r.process, "read events", func() (e []provision.Event, err error) {
		e, after, err = r.db().Unpublished(ctx, limit)
		return e, err
	})
	return events, after, err
}

func (r rows) MarkPublished(ctx context.Context, p provision.Published) error {
	return write(r.process, "mark published", func() error { return r.db().MarkPublished(ctx, p) })
}

func (r rows) Waited(ctx context.Context) (time.Duration, error) { return r.db().Waited(ctx) }

// calls is the cloud as a process sees it.
type calls struct {
	*process
	w *world
}

func (c calls) CreateInstance(ctx context.Context, projectID string, body []byte) (provision.Created, error) {
	return effect(c.process, "create", func() (provision.Created, error) {
		sent := c.w.ledger.send(body)
		if c.w.script.during != nil {
			c.w.script.during(c.w)
		}
		created, err := c.w.client.CreateInstance(ctx, projectID, body)
		sent.err, sent.ended = err, time.Now()
		return created, err
	}, func(provision.Created) bool { return true })
}

func (c calls) ListInstances(ctx context.Context, projectID string, q provision.InstanceQuery) (provision.InstancePage, error) {
	return read(c.process, "list instances", func() (provision.InstancePage, error) { return c.w.client.ListInstances(ctx, projectID, q) })
}

func (c calls) Job(ctx context.Context, projectID, jobID string) (provision.Job, error) {
	return read(c.process, "read job", func() (provision.Job, error) { return c.w.client.Job(ctx, projectID, jobID) })
}

func (c calls) Jobs(ctx context.Context, projectID string, w provision.JobWindow) (provision.JobPage, error) {
	return read(c.process, "list jobs", func() (provision.JobPage, error) { return c.w.client.Jobs(ctx, projectID, w) })
}

func (c calls) DeleteInstance(ctx context.Context, projectID, instanceID string) (jobID, cloudRequestID string, err error) {
	jobID, err = effect(c.process, "delete", func() (string, error) {
		jobID, cloudRequestID, err = c.w.client.DeleteInstance(ctx, projectID, instanceID)
		return jobID, err
	}, func(string) bool { return true })
	return jobID, cloudRequestID, err
}
