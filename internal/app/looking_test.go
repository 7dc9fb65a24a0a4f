package app_test

import (
	"fmt"
	"testing"
	"time"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

// Ours is found among more of its name than a page holds, by a look that is begun
// again after it failed half-way; the others are neither taken nor deleted.
func TestALookAmongManyOfOneName(t *testing.T) {
	t.Parallel()
	const others = 130
	for _, tags := range [][]ddsfake.Tag{
		{{Key: provision.TagRequest, Value: "5a3b2c1d-0e9f-48a7-b6c5-d4e3f2a1b0c9"}, {Key: provision.TagInstallation, Value: "another"}},
		{{Key: "owner", Value: "somebody"}},
	} {
		t.Run(tags[0].Key, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, ddsfake.Config{JobMin: 300 * time.Millisecond, JobLag: -1, SettleLag: -1})
			s.start(nil)
			s.publish(single("first"))
			s.wantEnd("first", provision.Ready, "")
			for n := range others {
				s.cloud.Add(ddsfake.DefaultProjectID, "many", append([]ddsfake.Tag{{Key: "n", Value: fmt.Sprint(n)}}, tags...)...)
			}
			s.script("list", ddsfake.Answer{}, ddsfake.Answer{Kind: ddsfake.ServerErrorBefore})
			s.script("create", ddsfake.Answer{Kind: ddsfake.TimeoutAfter}, ddsfake.Answer{Kind: ddsfake.TimeoutBefore})
			s.publish(single("many"))
			s.wantEnd("many", provision.Ready, "")
			if n := s.count(`select count(*) from events e join requests using (request_id) where name = 'many' and kind = 'looked' and detail like '%proves nothing%'`); n != 1 {
				t.Errorf("%d looks failed, want 1", n)
			}
			// A second one whose call did nothing is called again, though so many have its name.
			s.publish(single("many", "security_group_id", "7aa51dbf-5b63-40db-9724-dad3c4828b59"))
			s.eventually("both to be ready", func() bool {
				return s.count(`select count(*) from requests where name = 'many' and state = 'ready'`) == 2
			})
			if living := s.living()["many"]; living != others+2 {
				t.Errorf("%d of that name live, want %d", living, others+2)
			}
			if n := s.count(`select count(*) from instances where name = 'many'`) + s.count(`select count(*) from orphans`); n != 2 {
				t.Errorf("%d instances are taken for ours, want 2", n)
			}
		})
	}
}

// An instance that is found broken is adopted, so that the history names it.
func TestALookFindsWhatTheCloudGaveUp(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1, ListLag: 500 * time.Millisecond})
	s.start(nil)
	s.script("create", ddsfake.Answer{Kind: ddsfake.TimeoutAfter, JobFails: true})
	s.publish(single("broken"))
	s.wantEnd("broken", provision.Failed, "could not build instance")
	if id := s.cloud.Instances()[0].ID; s.instance("broken") != id {
		t.Errorf("the history names %q, want %s", s.instance("broken"), id)
	}
}

// Where names are unique and no tags are shown, somebody else's instance of the
// name ends the request, and stays what it is.
func TestANameThatSomebodyHas(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{ddsfake.FlexibleEngine, ddsfake.Huawei2020} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, ddsfake.Config{Dialect: dialect, JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
			theirs := s.cloud.Add(ddsfake.DefaultProjectID, "taken")
			s.start(map[string]string{"DDS_DIALECT": dialect})
			s.publish(single("taken"))
			s.wantEnd("taken", provision.Failed, "choose another name")
			if n := s.count(`select count(*) from instances where instance_id = $1`, theirs) + s.count(`select count(*) from orphans`); n != 0 || s.living()["taken"] != 1 {
				t.Error("somebody else's instance was taken or deleted")
			}
			// Once it has gone, a retry may have the name.
			s.must(s.cloud.Remove(theirs))
			if _, err := s.retry("taken", "Canary-8#yRz"); err != nil {
				t.Fatal(err)
			}
			s.wantEnd("taken", provision.Ready, "")
		})
	}
}
