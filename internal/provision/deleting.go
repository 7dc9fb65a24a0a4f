package provision

import "context"

// deleteOne deletes what a request made that is to be cancelled: the instance is read
// again by its id right before. It is not begun once start has ended.
func (p *Poller) deleteOne(start, work context.Context, c PollClaim) PollResult {
	ctx, cancel := context.WithTimeout(work, p.Policy.CallTimeout)
	defer cancel()
	seen := Poll{Err: errNotReached}
	if start.Err() == nil {
		seen.Instance, seen.Err = instanceByID(ctx, p.Instances, c.ProjectID, c.InstanceID)
		p.unsent.note(c.ProjectID, seen.Err)
	}
	r, remove := p.Policy.AfterReread(c, seen)
	if remove {
		_, cloudRequest, err := p.Deleter.DeleteInstance(ctx, c.ProjectID, c.InstanceID)
		p.unsent.note(c.ProjectID, err)
		r = p.Policy.AfterDelete(c, r, cloudRequest, err)
	}
	p.logDeletion(c, r)
	return r
}

func (p *Poller) logDeletion(c PollClaim, r PollResult) {
	log := p.Log.With("request", c.RequestID, "instance", c.InstanceID)
	switch {
	case r.Deleting:
		log.Info("deletes the instance of a cancelled request", "cloud_request", r.CloudRequestID)
	case r.State == Failed:
		log.Warn("a cancelled request left an instance", "error", r.Failure.Message)
	}
}
