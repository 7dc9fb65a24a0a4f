package provision

import (
	"slices"
	"strings"
	"testing"
)

const mark, otherMark = "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"

const lookSpec = `{"mode":"Single","vpc_id":"v","subnet_id":"s","datastore":{"type":"DDS-Community","version":"4.0"}}`

func listed(id, tag, created string) Instance {
	i := Instance{ID: id, Name: "n", Mode: "Single", VPCID: "v", SubnetID: "s", Datastore: "DDS-Community", Version: "4.0", Created: created}
	if tag != "" {
		i.Tags = map[string]string{TagRequest: tag}
	}
	return i
}

func otherSpec(id string, tags map[string]string) Instance {
	i := listed(id, "", "2")
	i.VPCID, i.Tags = "elsewhere", tags
	return i
}

func TestWhatALookMeans(t *testing.T) {
	p := DefaultPolicy()
	called := LookClaim{Name: "n", Spec: []byte(lookSpec), Mark: mark, Looks: 1, LastOutcome: OutcomeUnknown, LastMessage: "lost", MayHaveRun: true, MarksSeen: true, TagsSent: true}
	settled, tagless, conflict, prepaid, first, old, refused := called, called, called, called, called, called, called
	settled.Settled = true
	tagless.MarksSeen, tagless.Namesakes, tagless.Settled = false, []string{"before"}, true
	conflict.LastOutcome, conflict.LastCode, conflict.MayHaveRun = OutcomeConflict, "DBS.200022", false
	secondConflict := conflict
	secondConflict.MayHaveRun = true
	prepaid.Prepaid, prepaid.Settled = true, true
	restored := prepaid // its last call known to the backup was refused
	restored.LastOutcome = OutcomeNotExecuted
	first.MarksSeen, first.LastOutcome, first.MayHaveRun = false, "", false
	refused.MarksSeen, refused.Namesakes, refused.LastOutcome, refused.MayHaveRun = false, []string{}, OutcomeNotExecuted, false
	tagless.TagsSent = false
	shown := tagless
	shown.TagsSent = true
	refusedLate, taglessConflict := refused, tagless
	refusedLate.Age = p.CreateDeadline + 1
	taglessConflict.LastOutcome, taglessConflict.LastCode, taglessConflict.MayHaveRun = OutcomeConflict, "DBS.200022", false
	systemTag, foreign := otherSpec("x", nil), otherSpec("x", map[string]string{"owner": "somebody"})
	systemTag.Tags, foreign.VPCID = map[string]string{"_sys_x": "y"}, "v"
	old.Settled, old.Age = true, p.CreateDeadline+1

	named := tagless
	named.Named = []string{"x"}

	newMark, lost := listed("x", otherMark, "1"), settled
	newMark.Tags[TagInstallation] = "here"
	lost.Restored, lost.Installation = true, "here"
	lostElsewhere := lost
	lostElsewhere.Installation = "there"

	tests := []struct {
		name    string
		claim   LookClaim
		seen    []Instance
		known   map[string]bool
		next    State
		adopt   string
		orphans []string
		delayed bool
	}{
		{"ours", called, []Instance{listed("x", otherMark, "3"), listed("a", mark, "2")}, nil, Building, "a", nil, false},
		{"several of ours", called, []Instance{listed("c", mark, "3"), listed("a", mark, "1"), listed("b", mark, "2")}, nil, Building, "a", []string{"c", "b"}, false},
		{"ours before any list proved tags", tagless, []Instance{listed("a", mark, "1")}, nil, Building, "a", nil, false},
		{"nothing, and lists may lag", called, nil, nil, Creating, "", nil, true},
		{"nothing, and nothing can appear any more", settled, nil, nil, Pending, "", nil, false},
		{"ours by a mark that a restored database does not know", lost, []Instance{newMark}, nil, Creating, "", nil, true},
		{"another request's, which is recorded", lost, []Instance{newMark}, map[string]bool{"x": true}, Pending, "", nil, false},
		{"another installation's, after a restore", lostElsewhere, []Instance{newMark}, nil, Pending, "", nil, false},
		{"ours by another mark, and nothing was restored", settled, []Instance{newMark}, nil, Pending, "", nil, false},
		{"somebody else's", settled, []Instance{listed("x", otherMark, "1")}, nil, Pending, "", nil, false},
		{"an untagged namesake that nothing explains", settled, []Instance{listed("x", "", "1")}, nil, Creating, "", nil, true},
		{"an untagged namesake of another request", settled, []Instance{listed("x", "", "1")}, map[string]bool{"x": true}, Pending, "", nil, false},
		{"without tags: new and fitting", tagless, []Instance{listed("x", "", "2"), listed("before", "", "1")}, nil, Building, "x", nil, false},
		{"without tags: there before", tagless, []Instance{listed("before", "", "1")}, nil, Pending, "", nil, false},
		{"without tags: another request's", tagless, []Instance{listed("x", "", "2")}, map[string]bool{"x": true}, Pending, "", nil, false},
		{"without tags: another spec", tagless, []Instance{otherSpec("x", nil)}, nil, Creating, "", nil, true},
		{"without tags: two that fit", tagless, []Instance{listed("x", "", "2"), listed("y", "", "3")}, nil, Creating, "", nil, true},
		{"without tags: another spec and a system tag", tagless, []Instance{systemTag}, nil, Creating, "", nil, true},
		{"named by a late answer", named, []Instance{otherSpec("x", nil)}, nil, Building, "x", nil, false},
		{"named by a late answer, and held by another request", named, []Instance{otherSpec("x", nil)}, map[string]bool{"x": true}, Pending, "", nil, false},
		{"without tags: no call can have run", refused, []Instance{listed("x", "", "2")}, nil, Pending, "", nil, false},
		{"without tags: no call can have run, too old", refusedLate, []Instance{listed("x", "", "2")}, nil, Failed, "", nil, false},
		{"without tags: a colleague took the name", taglessConflict, []Instance{listed("x", "", "2")}, nil, Failed, "", nil, false},
		{"not proved yet: tags that are shown and not ours", shown, []Instance{foreign}, nil, Pending, "", nil, false},
		{"the only call was refused for its name", conflict, []Instance{listed("x", otherMark, "1")}, nil, Failed, "", nil, false},
		{"refused for the name that an earlier call of ours took", secondConflict, []Instance{listed("a", mark, "1")}, nil, Building, "a", nil, false},
		{"refused for the name after an earlier call", secondConflict, nil, nil, Creating, "", nil, true},
		{"a prepaid order is never repeated", prepaid, nil, nil, Failed, "", nil, false},
		{"a prepaid order of a restored database is never repeated", restored, nil, nil, Failed, "", nil, false},
		{"before the first call", first, []Instance{listed("x", "", "1")}, nil, Pending, "", nil, false},
		{"too old", old, nil, nil, Failed, "", nil, false},
		{"too old, with a namesake", old, []Instance{listed("x", "", "1")}, nil, Failed, "", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := p.AfterLook(tt.claim, Look{Instances: tt.seen, Known: tt.known})
			adopted := ""
			if r.Adopt != nil {
				adopted = r.Adopt.ID
			}
			if r.Next.State != tt.next || adopted != tt.adopt || !slices.Equal(ids(r.Orphans), append([]string{}, tt.orphans...)) || (r.Next.Delay > 0) != tt.delayed {
				t.Errorf("got %+v", r)
			}
			if !CanGo(Creating, r.Next.State) {
				t.Errorf("no step from creating to %s", r.Next.State)
			}
			if r.Next.State == Failed && (r.Failure == nil || r.Failure.Message == "") {
				t.Error("it failed without a reason")
			}
			if tt.delayed && r.Next.WaitingFor == "" {
				t.Error("it does not say what it waits for")
			}
		})
	}
	if r := p.AfterLook(first, Look{Instances: []Instance{listed("x", "", "1")}}); !slices.Equal(r.Namesakes, []string{"x"}) {
		t.Errorf("namesakes before the first call: %v", r.Namesakes)
	}
	if r := p.AfterLook(refused, Look{Instances: []Instance{listed("x", "", "1")}}); !slices.Equal(r.Namesakes, []string{"x"}) {
		t.Errorf("namesakes before the next call: %v", r.Namesakes)
	}
	if r := p.AfterLook(first, Look{}); r.Namesakes == nil {
		t.Error("that there are no namesakes was not noted")
	}
}

func TestALookThatFailedProvesNothing(t *testing.T) {
	p := DefaultPolicy()
	r := p.LookFailed(LookClaim{MayHaveRun: true, Settled: true, Looks: 3}, &CloudError{Op: "list instances", Class: ClassServer, Message: "no"})
	if r.Next.State != Creating || r.Next.Delay == 0 || !strings.Contains(r.Next.WaitingFor, "list instances") {
		t.Errorf("%+v", r)
	}
	if r := p.LookFailed(LookClaim{}, &CloudError{Class: ClassServer}); r.Next.State != Pending || !r.Next.LookFirst {
		t.Errorf("before the first call: %+v", r)
	}
}
