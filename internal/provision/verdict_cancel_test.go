package provision

import (
	"strings"
	"testing"
)

func TestALookForACancelledRequest(t *testing.T) {
	p := DefaultPolicy()
	called := LookClaim{RequestID: "r", Name: "n", Spec: []byte(lookSpec), Mark: mark, Looks: 1, LastOutcome: OutcomeUnknown, LastMessage: "lost",
		MayHaveRun: true, MarksSeen: true, TagsSent: true, Cancelling: true}
	settled, never, prepaid, retried, tooOld := called, called, called, called, called
	settled.Settled = true
	never.MayHaveRun, never.LastOutcome = false, OutcomeNotExecuted
	prepaid.Settled, prepaid.Prepaid = true, true
	retried.Settled, retried.Retried, retried.Held, retried.HeldFailed = true, true, "a", true
	tooOld.Age = p.CreateDeadline + 1
	failed := listed("a", mark, "1")
	failed.Status = InstanceCreateFail
	tests := []struct {
		name  string
		claim LookClaim
		look  Look
		next  State
		says  string
	}{
		{"found", called, Look{Instances: []Instance{listed("a", mark, "1")}}, Building, ""},
		{"found, though the cloud gave it up", called, Look{Instances: []Instance{failed}}, Building, ""},
		{"nothing yet", called, Look{}, Creating, ""},
		{"nothing yet, past the deadline", tooOld, Look{}, Creating, ""},
		{"nothing any more", settled, Look{}, Cancelled, ""},
		{"somebody else's", settled, Look{Instances: []Instance{listed("x", otherMark, "1")}}, Cancelled, ""},
		{"an untagged one that nothing explains", settled, Look{Instances: []Instance{listed("x", "", "1")}}, Failed, "x has the same name"},
		{"no call ran, and somebody has the name", never, Look{Instances: []Instance{listed("x", "", "1")}}, Cancelled, ""},
		{"a prepaid order", prepaid, Look{}, Failed, "prepaid order"},
		{"what failed before a retry", retried, Look{Held: &failed, Known: map[string]bool{"a": true}, Instances: []Instance{failed}}, Building, ""},
		{"what failed before a retry is gone", retried, Look{}, Cancelled, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := p.AfterLook(tt.claim, tt.look)
			if r.Next.State != tt.next || (r.Adopt != nil) != (tt.next == Building) || (r.Failure != nil) != (tt.next == Failed) {
				t.Fatalf("%+v", r)
			}
			if !CanGo(Creating, r.Next.State) {
				t.Errorf("no step from creating to %s", r.Next.State)
			}
			if tt.next == Failed && !strings.Contains(r.Failure.Message, tt.says) {
				t.Errorf("it says %q", r.Failure.Message)
			}
		})
	}
	lost := &CloudError{Op: "list instances", Class: ClassLost}
	if r := p.LookFailed(never, lost); r.Next.State != Cancelled {
		t.Errorf("no call ran and no look works: %+v", r.Next)
	}
	if r := p.LookFailed(settled, lost); r.Next.State != Creating {
		t.Errorf("a call may have run and no look works: %+v", r.Next)
	}
	retried.MayHaveRun = false
	if r := p.LookFailed(retried, lost); r.Next.State != Pending || !r.Next.LookFirst {
		t.Errorf("an instance is recorded and no look works: %+v", r.Next)
	}
}

func TestALookForARetriedRequest(t *testing.T) {
	p := DefaultPolicy()
	fresh := LookClaim{RequestID: "r", Name: "n", Spec: []byte(lookSpec), Mark: mark, LastOutcome: OutcomePermanent, LastMessage: "no quota",
		MarksSeen: true, TagsSent: true, Retried: true, Settled: true}
	held, order, tagless, conflict, prepaid, late := fresh, fresh, fresh, fresh, fresh, fresh
	held.Held = "a"
	order.Held, order.HeldOrder = "a", "CS1"
	tagless.MarksSeen, tagless.TagsSent, tagless.MayHaveRun, tagless.Namesakes, tagless.LastOutcome = false, false, true, []string{"before"}, OutcomeUnknown
	conflict.LastOutcome = OutcomeConflict
	prepaid.Prepaid, prepaid.MayHaveRun, prepaid.LastOutcome = true, true, OutcomeUnknown
	late.Held, late.Age = "a", p.CreateDeadline+1
	lagging := held
	lagging.Settled = false
	jobFailed := held
	jobFailed.HeldFailed = true
	thought := fresh
	thought.Gone = []string{"a"}
	deleting := listed("a", mark, "1")
	deleting.Status, deleting.Actions = InstanceNormal, []string{ActionDelete}
	with := func(status string) Look {
		i := listed("a", mark, "1")
		i.Status = status
		return Look{Instances: []Instance{i}, Held: &i, Known: map[string]bool{"a": true}}
	}
	unheld := func(status string) Look { l := with(status); l.Held, l.Known = nil, nil; return l }
	tests := []struct {
		name      string
		claim     LookClaim
		look      Look
		next      State
		lookFirst bool
		gone      string
		says      string
	}{
		{"nothing was made", fresh, Look{}, Pending, false, "", ""},
		{"the recorded instance lives", held, with("normal"), Building, false, "", ""},
		{"it is still being built", held, with("creating"), Building, false, "", ""},
		{"the cloud gave it up", held, with("createfail"), Pending, true, "", "instance a, which failed or is being deleted, to be gone"},
		{"its job failed", jobFailed, with("abnormal"), Pending, true, "", "instance a, which failed or is being deleted, to be gone"},
		{"it is gone", held, Look{}, Pending, false, "a", ""},
		{"only the list shows it", held, Look{Instances: []Instance{*with("normal").Held}, Known: map[string]bool{"a": true}}, Building, false, "", ""},
		{"it may not be listed yet", lagging, Look{}, Pending, true, "", "proof that instance a is gone"},
		{"its order is not delivered", order, Look{}, Building, false, "", ""},
		{"one with the old mark lives", fresh, unheld("normal"), Building, false, "", ""},
		{"one with the old mark failed", fresh, unheld("createfail"), Pending, true, "", "instance a, which failed or is being deleted, to be gone"},
		{"what was taken for gone lives", thought, Look{Instances: with("normal").Instances, Known: map[string]bool{"a": true}}, Building, false, "", ""},
		{"what was taken for gone failed", thought, Look{Instances: with("createfail").Instances, Known: map[string]bool{"a": true}}, Pending, true, "", "instance a, which failed or is being deleted, to be gone"},
		{"what was taken for gone is being deleted", thought, Look{Instances: []Instance{deleting}, Known: map[string]bool{"a": true}}, Pending, true, "", "instance a, which failed or is being deleted, to be gone"},
		{"what was taken for gone is", thought, Look{}, Pending, false, "", ""},
		{"the recorded instance is being deleted", held, Look{Instances: []Instance{deleting}}, Pending, true, "", "instance a, which failed or is being deleted, to be gone"},
		{"nobody deletes what failed", late, with("createfail"), Failed, false, "", "instance a, which failed or is being deleted, was still there"},
		{"without tags: the lost one lives", tagless, unheld("normal"), Building, false, "", ""},
		{"without tags: nothing new", tagless, Look{Instances: []Instance{listed("before", "", "1")}}, Pending, false, "", ""},
		{"the name was taken", conflict, Look{Instances: []Instance{listed("x", otherMark, "1")}}, Pending, false, "", ""},
		{"somebody sends a prepaid order again", prepaid, Look{}, Pending, false, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := p.AfterLook(tt.claim, tt.look)
			if r.Next.State != tt.next || r.Next.LookFirst != tt.lookFirst || r.Gone != tt.gone || (r.Adopt != nil) != (tt.next == Building) {
				t.Fatalf("%+v", r)
			}
			said := r.Next.WaitingFor
			if r.Failure != nil {
				said = r.Failure.Message
			}
			if !strings.Contains(said, tt.says) {
				t.Errorf("it says %q, want %q", said, tt.says)
			}
			if tt.claim.MarksSeen == (r.Namesakes != nil) && tt.next == Pending {
				t.Errorf("namesakes: %v", r.Namesakes)
			}
		})
	}
}

// An instance that somebody holds is never taken, whatever tags it shows.
func TestCopiedTagsAreNotBelieved(t *testing.T) {
	c := LookClaim{RequestID: "r", Name: "n", Mark: mark, MayHaveRun: true, Settled: true, MarksSeen: true, TagsSent: true, LastOutcome: OutcomeUnknown}
	r := DefaultPolicy().AfterLook(c, Look{Instances: []Instance{listed("x", mark, "1")}, Known: map[string]bool{"x": true}})
	if r.Adopt != nil || len(r.Orphans) > 0 || r.Next.State != Pending {
		t.Errorf("%+v", r)
	}
}
