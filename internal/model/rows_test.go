package model

import (
	"context"
	"time"

	"ddsworker/internal/provision"
)

// rows is the store as a process sees it.
type rows struct{ *process }

type nothing = struct{}

func (r rows) write(what string, do func() error) error {
	_, err := statement(r.process, what, func() (nothing, error) { return nothing{}, do() }, nil)
	return err
}

func (r rows) Accept(ctx context.Context, batch []provision.NewRequest, q provision.ClaimQuery) ([]provision.Acceptance, error) {
	return statement(r.process, "accept", func() ([]provision.Acceptance, error) { return r.w.store.Accept(ctx, batch, q) }, nil)
}

func (r rows) Reject(ctx context.Context, batch []provision.Rejection) ([]bool, error) {
	return statement(r.process, "reject", func() ([]bool, error) { return r.w.store.Reject(ctx, batch) }, nil)
}

func (r rows) ClaimCreates(ctx context.Context, q provision.ClaimQuery) ([]provision.CreateClaim, error) {
	return claim(r.process, "claim creates", func() ([]provision.CreateClaim, error) { return r.w.store.ClaimCreates(ctx, q) })
}

func (r rows) RecordCreates(ctx context.Context, batch []provision.CreateResult) error {
	return r.write("record creates", func() error { return r.w.store.RecordCreates(ctx, batch) })
}

func (r rows) ClaimLooks(ctx context.Context, q provision.ClaimQuery) ([]provision.LookClaim, error) {
	return claim(r.process, "claim looks", func() ([]provision.LookClaim, error) { return r.w.store.ClaimLooks(ctx, q) })
}

func (r rows) RecordLooks(ctx context.Context, batch []provision.LookResult) error {
	return r.write("record looks", func() error { return r.w.store.RecordLooks(ctx, batch) })
}

func (r rows) KeepLook(ctx context.Context, requestID string, fence int64, lease time.Duration) (bool, error) {
	return look(r.process, "keep a look", func() (bool, error) { return r.w.store.KeepLook(ctx, requestID, fence, lease) })
}

func (r rows) KeepPoll(ctx context.Context, instanceID string, lease time.Duration) (bool, error) {
	return look(r.process, "keep a poll", func() (bool, error) { return r.w.store.KeepPoll(ctx, instanceID, lease) })
}

func (r rows) NoteMarksSeen(ctx context.Context, projectID string) error {
	return r.write("marks seen", func() error { return r.w.store.NoteMarksSeen(ctx, projectID) })
}

func (r rows) KnownInstances(ctx context.Context, ids []string) (map[string]bool, error) {
	return look(r.process, "known instances", func() (map[string]bool, error) { return r.w.store.KnownInstances(ctx, ids) })
}

func (r rows) ClaimPolls(ctx context.Context, q provision.ClaimQuery) ([]provision.PollClaim, error) {
	return claim(r.process, "claim polls", func() ([]provision.PollClaim, error) { return r.w.store.ClaimPolls(ctx, q) })
}

// LearnBuilds is no step: losing it costs a few calls.
func (r rows) LearnBuilds(ctx context.Context, projects []string, seen []provision.BuildSpan) ([]provision.BuildSpan, error) {
	return r.w.store.LearnBuilds(ctx, projects, seen)
}

func (r rows) RecordPolls(ctx context.Context, batch []provision.PollResult) error {
	return r.write("record polls", func() error { return r.w.store.RecordPolls(ctx, batch) })
}

func (r rows) Lead(ctx context.Context) (func(), bool, error) {
	if err := r.moment(); err != nil {
		return nil, false, err
	}
	return r.w.store.Lead(ctx)
}

func (r rows) Unpublished(ctx context.Context, limit int) (events []provision.Event, after uint64, err error) {
	events, err = look(r.process, "read events", func() (e []provision.Event, err error) {
		e, after, err = r.w.store.Unpublished(ctx, limit)
		return e, err
	})
	return events, after, err
}

func (r rows) MarkPublished(ctx context.Context, p provision.Published) error {
	return r.write("mark published", func() error { return r.w.store.MarkPublished(ctx, p) })
}

func (r rows) Waited(ctx context.Context) (time.Duration, error) {
	return look(r.process, "oldest event", func() (time.Duration, error) { return r.w.store.Waited(ctx) })
}

func (r rows) Budgets(ctx context.Context, scopes []string) (states map[string]*provision.BudgetState, now time.Time, err error) {
	states, err = look(r.process, "budgets", func() (s map[string]*provision.BudgetState, err error) {
		s, now, err = r.w.store.Budgets(ctx, scopes)
		return s, err
	})
	return states, now, err
}

func (r rows) SaveBudgets(ctx context.Context, states map[string]*provision.BudgetState) (bool, error) {
	return look(r.process, "save budgets", func() (bool, error) { return r.w.store.SaveBudgets(ctx, states) })
}
