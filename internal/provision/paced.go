package provision

import "context"

// Paced are all calls of the cloud but create, each of which waits for its slot of
// the rate budget. The creator's calls wait where it makes them.
type Paced struct {
	Cloud interface {
		InstanceLister
		InstanceDeleter
		JobReader
	}
	Budget *Budget
}

// ListInstances implements InstanceLister.
func (p Paced) ListInstances(ctx context.Context, projectID string, q InstanceQuery) (InstancePage, error) {
	return paced(ctx, p.Budget, projectID, func(ctx context.Context) (InstancePage, error) { return p.Cloud.ListInstances(ctx, projectID, q) })
}

// Job implements JobReader.
func (p Paced) Job(ctx context.Context, projectID, jobID string) (Job, error) {
	return paced(ctx, p.Budget, projectID, func(ctx context.Context) (Job, error) { return p.Cloud.Job(ctx, projectID, jobID) })
}

// Jobs implements JobReader.
func (p Paced) Jobs(ctx context.Context, projectID string, w JobWindow) (JobPage, error) {
	return paced(ctx, p.Budget, projectID, func(ctx context.Context) (JobPage, error) { return p.Cloud.Jobs(ctx, projectID, w) })
}

// DeleteInstance implements InstanceDeleter.
func (p Paced) DeleteInstance(ctx context.Context, projectID, instanceID string) (jobID, cloudRequestID string, err error) {
	jobID, err = paced(ctx, p.Budget, projectID, func(ctx context.Context) (string, error) {
		var job string
		job, cloudRequestID, err = p.Cloud.DeleteInstance(ctx, projectID, instanceID)
		return job, err
	})
	return jobID, cloudRequestID, err
}

// paced makes one call once its slot has come.
func paced[T any](ctx context.Context, b *Budget, project string, call func(context.Context) (T, error)) (T, error) {
	var none T
	e := errandOf(ctx)
	if e.hasBegun() && !e.kept(ctx) {
		return none, &CloudError{Op: "go on with what has begun", Class: ClassNotSent, Err: errNoSlot,
			Message: "the claim could not be kept until the next call, so it is begun anew"}
	}
	if err := b.Wait(ctx, project, LaneRead); err != nil {
		return none, err
	}
	ctx, done := e.call(ctx)
	defer done()
	v, err := call(ctx)
	b.Answered(project, err)
	return v, err
}
