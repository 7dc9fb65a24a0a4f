package provision

import "fmt"

// CancelFound is what a wish to cancel a request found.
type CancelFound struct {
	RequestID  string
	State      State  // after it; empty: nobody knows the id
	Wished     bool   // it is cancelled, or will be
	InstanceID string // the instance that is recorded for it
}

// Problem says why the request cannot be cancelled and what to do instead; it is
// empty if it is or will be.
func (f CancelFound) Problem() string {
	switch {
	case f.State == Cancelled, f.Wished && !f.State.Ended():
		return ""
	case f.State == Ready:
		return fmt.Sprintf("it is ready, and cancelling it would drop a database that may be in use: delete instance %s in the console if that is meant", f.InstanceID)
	case f.State == Failed && f.InstanceID != "":
		return fmt.Sprintf("it has failed already and makes no more calls: instance %s is left, delete it in the console", f.InstanceID)
	case f.State == Failed:
		return "it has failed already and makes no more calls: there is nothing to cancel"
	case f.State == Rejected:
		return "it was rejected and never started: there is nothing to cancel"
	}
	return unknownID
}

const unknownID = "no request has this id, or its history is pruned: see request_id in provisioning_history; one that was published just now may still be on its way"

// RetryFound is a request that somebody wants to retry.
type RetryFound struct {
	RequestID   string
	State       State // empty: nobody knows the id
	Spec        []byte
	HadPassword bool // it came with one, which is erased
	Prepaid     bool
	InstanceID  string // the instance that is recorded for it and may live
	NameHeldBy  string // another open request of its name, where only one may be
}

// Problem says why the request cannot be retried and what to do instead; it is
// empty if it can be. withPassword tells whether a new password is given.
func (f RetryFound) Problem(withPassword bool) string {
	switch {
	case f.State == "":
		return unknownID
	case f.State == Rejected:
		return "it was rejected: correct what the reasons name and publish it again, under the same id if you like"
	case f.State == Cancelled:
		return "it was cancelled: publish it again under a new id"
	case f.State == Ready:
		return "it is ready: there is nothing to retry"
	case f.State != Failed:
		return fmt.Sprintf("it has not failed but is %s: it goes on by itself", f.State)
	case f.NameHeldBy != "":
		return fmt.Sprintf("request %q has the same name and has not ended, and this cloud does not show tags: retry when that one has ended", f.NameHeldBy)
	case f.HadPassword && !withPassword:
		return "its password was erased when it failed: give a new one with --password-file FILE (or - for standard input)"
	case !f.HadPassword && withPassword:
		return "it came without a password: retry it without one"
	}
	return ""
}

// CheckPassword tells what is wrong with a new password for a request's spec.
func (r Rules) CheckPassword(specJSON []byte, password Secret) error {
	spec, err := readSpec(specJSON)
	if err != nil {
		return err
	}
	return r.Dialect.checkOpened(spec, password)
}
