package provision

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// This file decides what a look means: pure functions, no I/O.

// Look is what was seen: the instances that bear the request's name exactly, the
// list read whole, newest first.
type Look struct {
	Instances []Instance
	// Known names the request for which an instance is recorded already.
	Known map[string]string
}

// AfterLook returns what a complete look at the request's name means.
func (p Policy) AfterLook(c LookClaim, look Look) LookResult {
	r := LookResult{RequestID: c.RequestID, Fence: c.Fence, Kind: "looked", Detail: describe(c, look)}
	if found := c.candidates(look); len(found) > 0 {
		oldest := slices.MinFunc(found, func(a, b Instance) int { return strings.Compare(a.Created, b.Created) })
		r.Kind, r.Adopt = "adopted", &oldest
		r.Orphans = slices.DeleteFunc(found, func(i Instance) bool { return i.ID == oldest.ID })
		r.Next = Next{State: Building}
		return r
	}
	p.notFound(c, look, &r)
	return r
}

// candidates are the instances that this request made: those with its mark or
// named by an answer to its call, and where tags cannot be relied on the only one that is new since the first call,
// belongs to nobody and fits the spec, if a call of ours may have run at all.
func (c LookClaim) candidates(look Look) []Instance {
	var marked, likely []Instance
	for _, i := range look.Instances {
		switch {
		case i.Tags[TagRequest] == c.Mark, slices.Contains(c.Named, i.ID) && look.Known[i.ID] == "":
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
	case c.LastOutcome == OutcomeConflict && (!c.MayHaveRun || c.Settled):
		last.Class = ClassConflict
		r.Failure, r.Next = &last, Next{State: Failed}
	case !c.MayHaveRun && !tooOld:
		r.Next = Next{State: Pending}
		if !c.MarksSeen {
			r.Namesakes = ids(look.Instances)
		}
	case c.MayHaveRun && !c.Settled:
		r.Next = Next{State: Creating, Delay: p.lookDelay(c.Looks),
			WaitingFor: "proof that the last call made nothing: lists may lag, so it is looked for again"}
	case c.MayHaveRun && len(blocking) > 0 && !tooOld:
		r.Next = Next{State: Creating, Delay: p.LookMax,
			WaitingFor: "an explanation for " + strings.Join(blocking, ", ") + ": same name, not recorded, and nothing tells whose; delete or rename it if it is not wanted"}
	case c.Prepaid && c.LastOutcome != OutcomeNotExecuted:
		last.Class = ClassLost
		last.Message = "the outcome of a prepaid order is unknown and it is never sent again by itself: see the orders of the account – " + last.Message
		r.Failure, r.Next = &last, Next{State: Failed}
	case tooOld:
		last.Class = ClassLost
		last.Message = fmt.Sprintf("not created within %s; a conclusive look found no instance of it – last answer: %s", p.CreateDeadline, c.LastMessage)
		if len(blocking) > 0 {
			last.Message += " – but see " + strings.Join(blocking, ", ") + ", which has the same name and no tags"
		}
		r.Failure, r.Next = &last, Next{State: Failed}
	default:
		r.Next = Next{State: Pending}
	}
}

// unexplained are the namesakes that might be ours and cannot be told apart.
func (c LookClaim) unexplained(look Look) []string {
	var out []string
	for _, i := range look.Instances {
		if c.unexplainedOne(i, look) {
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
		look.Known[i.ID] == "" && !slices.Contains(c.Namesakes, i.ID)
}

// LookFailed returns what follows from a look that could not be completed: it
// proves nothing.
func (p Policy) LookFailed(c LookClaim, err error) LookResult {
	ce := AsCloudError(err)
	next := Next{State: Creating, Delay: max(p.lookDelay(c.Looks), min(ce.RetryAfter, 10*p.RetryMax)),
		WaitingFor: "a look that succeeds, after: " + ce.Error()}
	if notSent(ce) {
		next.Delay = handBack()
	}
	if !c.MayHaveRun {
		next.State, next.LookFirst = Pending, true
	}
	return LookResult{RequestID: c.RequestID, Fence: c.Fence, Kind: "looked",
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
