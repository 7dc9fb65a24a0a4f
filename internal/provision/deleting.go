package provision

// deleteOne deletes what a request made that is to be cancelled: the instance is read
// again by its id right before. It is not begun once the round's time is over.
func (r *reading) deleteOne(c PollClaim) PollResult {
	p, ctx := r.p, r.errand(c)
	seen := Poll{Err: errNotReached}
	if r.start.Err() == nil {
		seen.Instance, seen.Err = instanceByID(ctx, p.Instances, c.ProjectID, c.InstanceID)
		p.unsent.note(c.ProjectID, seen.Err)
	}
	result, remove := p.Policy.AfterReread(c, seen)
	if remove {
		_, cloudRequest, err := p.Deleter.DeleteInstance(ctx, c.ProjectID, c.InstanceID)
		p.unsent.note(c.ProjectID, err)
		result = p.Policy.AfterDelete(c, result, cloudRequest, err)
	}
	p.logDeletion(c, result)
	return result
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
