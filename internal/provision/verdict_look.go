package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// This file decides what a look means: pure functions, no I/O.

// Look is what was seen: the instances that bear the request's name exactly, the
// list read whole, newest first.
type Look struct {
	Instances []Instance
	// Known are the ids that are recorded already, as LookStore.KnownInstances tells.
	Known map[string]bool
	// Held is the instance recorded for this request, read by its id; nil where
	// there is none (any more). It need not be read where Instances has it.
	Held *Instance
}

// held is the instance recorded for a request, however it was seen; nil where it was not.
func (l Look) held(c LookClaim) *Instance {
	if l.Held != nil || c.Held == "" {
		return l.Held
	}
	if n := slices.IndexFunc(l.Instances, func(i Instance) bool { return i.ID == c.Held }); n >= 0 {
		return &l.Instances[n]
	}
	return nil
}

// AfterLook returns what a complete look at the request's name means.
func (p Policy) AfterLook(c LookClaim, look Look) LookResult {
	r := LookResult{RequestID: c.RequestID, Fence: c.Fence, Kind: KindLooked, Detail: describe(c, look)}
	found, held := c.candidates(look), look.held(c)
	switch {
	case held != nil:
		found = []Instance{*held}
	case c.HeldOrder != "": // it is not listed before it is paid for and delivered
		found = []Instance{{ID: c.Held, Name: c.Name}}
	case c.Held != "" && !c.Settled: // what a list does not show yet is not gone
		r.Next = Next{State: Pending, LookFirst: true, Delay: p.lookDelay(c.Looks),
			WaitingFor: "proof that instance " + c.Held + " is gone: lists may lag, so it is looked for again"}
		return r
	default:
		r.Gone = c.Held
	}
	alive := slices.DeleteFunc(slices.Clone(found), c.broken)
	if len(alive) == 0 && c.Retried && !c.Cancelling && len(found) > 0 {
		p.waitUntilGone(c, found, &r)
		return r
	}
	if c.Retried && !c.Cancelling {
		found = alive
	}
	if len(found) > 0 {
		oldest := slices.MinFunc(found, func(a, b Instance) int { return strings.Compare(a.Created, b.Created) })
		r.Kind, r.Adopt = KindAdopted, &oldest
		r.Orphans = slices.DeleteFunc(found, func(i Instance) bool { return i.ID == oldest.ID })
		r.Next = Next{State: Building}
		return r
	}
	p.notFound(c, look, &r)
	return r
}

// waitUntilGone keeps a retry waiting while what is not to be taken is still there: it
// has the name, costs money, and is somebody's to look at.
func (p Policy) waitUntilGone(c LookClaim, found []Instance, r *LookResult) {
	left := strings.Join(ids(found), ", ")
	if c.Age > p.CreateDeadline {
		r.Failure = &Failure{Class: ClassLost, Message: fmt.Sprintf("instance %s, which failed or is being deleted, was still there %s after the retry – delete it, and retry again", left, p.CreateDeadline)}
		r.Next = Next{State: Failed}
		return
	}
	r.Next = Next{State: Pending, LookFirst: true, Delay: p.LookMax,
		WaitingFor: "instance " + left + ", which failed or is being deleted, to be gone: delete it when you have seen it, then this goes on by itself"}
}

// broken reports whether an instance is none to be taken again: the cloud gave up
// building it, or deletes it.
func (c LookClaim) broken(i Instance) bool {
	return i.Status == InstanceCreateFail || i.ID == c.Held && c.HeldFailed || slices.Contains(i.Actions, ActionDelete)
}

// candidates are the instances that this request made and nobody holds: for a retry
// those that were taken for gone and are listed again, those with its mark or named by
// an answer to its call, and where tags cannot be relied on the
// only one that is new since the first call, belongs to nobody and fits the spec, if a
// call of ours may have run at all.
func (c LookClaim) candidates(look Look) []Instance {
	var marked, likely []Instance
	for _, i := range look.Instances {
		switch {
		case c.Retried && slices.Contains(c.Gone, i.ID): // it was not gone, or is about to be
			marked = append(marked, i)
		case look.Known[i.ID]: // tags can be copied
		case i.Tags[TagRequest] == c.Mark, slices.Contains(c.Named, i.ID):
			marked = append(marked, i)
		case !c.MarksSeen && c.MayHaveRun && c.Namesakes != nil && c.unexplainedOne(i, look) && fits(c.Spec, i):
			likely = append(likely, i)
		}
	}
	if len(marked) > 0 || len(likely) != 1 {
		return marked
	}
	return likely
}

// notFound decides when a complete list shows nothing of ours.
func (p Policy) notFound(c LookClaim, look Look, r *LookResult) {
	blocking := c.unexplained(look)
	tooOld := c.Age > p.CreateDeadline
	last := Failure{Code: c.LastCode, Message: c.LastMessage}
	switch {
	case c.Cancelling:
		p.notFoundCancelling(c, blocking, r)
	case c.LastOutcome == OutcomeConflict && !c.Retried && (!c.MayHaveRun || c.Settled):
		last.Class = ClassConflict
		r.Failure, r.Next = &last, Next{State: Failed}
	case !c.MayHaveRun && !tooOld:
		c.mayCall(look, r)
	case c.MayHaveRun && !c.Settled:
		r.Next = Next{State: Creating, Delay: p.lookDelay(c.Looks),
			WaitingFor: "proof that the last call made nothing: lists may lag, so it is looked for again"}
	case c.MayHaveRun && len(blocking) > 0 && !tooOld:
		r.Next = Next{State: Creating, Delay: p.LookMax,
			WaitingFor: "an explanation for " + strings.Join(blocking, ", ") + ": same name, not recorded, and nothing tells whose; delete or rename it if it is not wanted"}
	case c.Prepaid && !c.Retried && c.MayHaveRun: // whatever its last call came to: a restored database knows of no later one
		r.Failure, r.Next = prepaidUnknown(last), Next{State: Failed}
	case tooOld:
		last.Class = ClassLost
		last.Message = fmt.Sprintf("not created within %s; a conclusive look found no instance of it – last answer: %s", p.CreateDeadline, c.LastMessage)
		if len(blocking) > 0 {
			last.Message += " – but see " + strings.Join(blocking, ", ") + ", which has the same name and no tags"
		}
		r.Failure, r.Next = &last, Next{State: Failed}
	default:
		c.mayCall(look, r)
	}
}

// mayCall lets the request call. Where tags cannot be relied on it notes who has
// its name before its first call, and again where a retry begins anew or a restored
// database does not tell.
func (c LookClaim) mayCall(look Look, r *LookResult) {
	r.Next = Next{State: Pending}
	if !c.MarksSeen && (!c.MayHaveRun || c.Retried || c.Namesakes == nil) {
		r.Namesakes = ids(look.Instances)
	}
}

// notFoundCancelling decides about a request that is to be cancelled when a
// complete list shows nothing of ours.
func (p Policy) notFoundCancelling(c LookClaim, blocking []string, r *LookResult) {
	last := Failure{Code: c.LastCode, Class: ClassLost, Message: c.LastMessage}
	switch {
	case !c.MayHaveRun:
		r.Next = Next{State: Cancelled}
	case !c.Settled:
		r.Next = Next{State: Creating, Delay: p.lookDelay(c.Looks),
			WaitingFor: "proof that the last call made nothing: lists may lag, so it is looked for again"}
	case len(blocking) > 0:
		last.Message = fmt.Sprintf("cancelled, but %s has the same name, nothing tells whose it is, and its last call may have made it: delete it if it is not wanted – last answer: %s",
			strings.Join(blocking, ", "), c.LastMessage)
		r.Failure, r.Next = &last, Next{State: Failed}
	case c.Prepaid:
		r.Failure, r.Next = prepaidUnknown(last), Next{State: Failed}
	default:
		r.Next = Next{State: Cancelled}
	}
}

func prepaidUnknown(last Failure) *Failure {
	last.Class = ClassLost
	last.Message = "the outcome of a prepaid order is unknown and it is never sent again by itself: see the orders of the account – " + last.Message
	return &last
}

// unexplained are the namesakes that might be ours and cannot be told apart.
func (c LookClaim) unexplained(look Look) []string {
	var out []string
	for _, i := range look.Instances {
		if c.unexplainedOne(i, look) || c.forgotten(i, look) {
			out = append(out, i.ID)
		}
	}
	return out
}

// unexplainedOne reports whether an instance without our mark might be ours all
// the same: recorded for nobody, not there before the first call, and without
// tags. Tags that are shown and are not ours prove that it is somebody else's,
// where our calls carry tags.
func (c LookClaim) unexplainedOne(i Instance, look Look) bool {
	return i.Tags[TagRequest] == "" && (len(i.Tags) == 0 || !c.TagsSent) &&
		!look.Known[i.ID] && !slices.Contains(c.Namesakes, i.ID)
}

// forgotten reports whether an instance may have been made for this request under a
// mark that a restored database does not know, as a retry since the backup gave it.
func (c LookClaim) forgotten(i Instance, look Look) bool {
	return c.Restored && c.Installation != "" && i.Tags[TagInstallation] == c.Installation && i.Tags[TagRequest] != c.Mark && !look.Known[i.ID]
}

// LookFailed returns what follows from a look that could not be completed: it
// proves nothing.
func (p Policy) LookFailed(c LookClaim, err error) LookResult {
	ce := AsCloudError(err)
	next := Next{State: Creating, Delay: max(p.lookDelay(c.Looks), min(ce.RetryAfter, 10*p.RetryMax)),
		WaitingFor: "a look that succeeds, after: " + ce.Error()}
	if notSent(ce) || errors.Is(ce, errNoSlot) {
		next.Delay = handBack()
	}
	switch {
	case c.Cancelling && !c.MayHaveRun && c.Held == "" && len(c.Gone) == 0: // there is nothing that a look could find
		next = Next{State: Cancelled}
	case !c.MayHaveRun:
		next.State, next.LookFirst = Pending, true
	}
	return LookResult{RequestID: c.RequestID, Fence: c.Fence, Kind: KindLooked, Unsent: ce.Class == ClassNotSent,
		Detail: "the look failed and proves nothing: " + ce.Error(), Next: next, CloudRequestID: ce.RequestID}
}

// fits reports whether an instance is what the spec asked for, as far as a list
// tells.
func fits(spec []byte, i Instance) bool {
	var s struct {
		Mode      string `json:"mode"`
		VPC       string `json:"vpc_id"`
		Subnet    string `json:"subnet_id"`
		Datastore struct {
			Type    string `json:"type"`
			Version string `json:"version"`
		} `json:"datastore"`
	}
	if json.Unmarshal(spec, &s) != nil {
		return false
	}
	return s.Mode == i.Mode && s.VPC == i.VPCID && s.Subnet == i.SubnetID &&
		s.Datastore.Type == i.Datastore && s.Datastore.Version == i.Version
}

func describe(c LookClaim, look Look) string {
	if len(look.Instances) == 0 {
		return fmt.Sprintf("no instance is named %q", c.Name)
	}
	return fmt.Sprintf("%d named %q: %s", len(look.Instances), c.Name, strings.Join(ids(look.Instances), ", "))
}

// ids are the instances' ids; never nil, because none is a finding too.
func ids(list []Instance) []string {
	out := make([]string, 0, len(list))
	for _, i := range list {
		out = append(out, i.ID)
	}
	return out
}
