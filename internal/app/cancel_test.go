package app_test

import (
	"strings"
	"testing"
	"time"

	"ddsworker/internal/app"
	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

// hasTags tells whether a dialect's lists show tags.
func hasTags(dialect string) bool { return dialect == ddsfake.Huawei || dialect == ddsfake.OTC }

// id is the id of the request of that name.
func (s *system) id(name string) string {
	s.t.Helper()
	return s.value(`select request_id from requests where name = $1`, name)
}

// cancel asks for it as the command does, and returns what it says.
func (s *system) cancel(name string) (said string, err error) {
	s.t.Helper()
	a := &app.App{Config: s.config(nil)}
	err = a.Cancel(s.t.Context(), []string{s.id(name)}, "tester", func(_, what string) { said = what })
	return said, err
}

// wantEnd waits until the request has ended, and fails unless it is in this state
// and the history says the words.
func (s *system) wantEnd(name string, state provision.State, words string) {
	s.t.Helper()
	s.eventually(name+" to end", func() bool {
		return s.count(`select count(*) from requests where name = $1 and finished_at is not null`, name) == 1
	})
	if got := s.value(`select state || ': ' || coalesce(error_message, '') from provisioning_history where name = $1`, name); !strings.HasPrefix(got, string(state)) || !strings.Contains(got, words) {
		s.t.Errorf("%s is %s; want %s: %s", name, got, state, words)
	}
}

// living are the names of the instances that exist.
func (s *system) living() map[string]int {
	names := map[string]int{}
	for _, i := range s.cloud.Instances() {
		if i.Status != "deleted" {
			names[i.Name]++
		}
	}
	return names
}

// A request is cancelled wherever it is, and what it made is deleted; where nothing
// proves that an instance is ours, it is named instead.
func TestCancelling(t *testing.T) {
	t.Parallel()
	for _, dialect := range ddsfake.Dialects() {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, ddsfake.Config{Dialect: dialect, JobMin: 700 * time.Millisecond, JobLag: 50 * time.Millisecond, SettleLag: 50 * time.Millisecond,
				ListLag: 300 * time.Millisecond, DeleteTime: 300 * time.Millisecond})
			s.settings["DDS_DIALECT"] = dialect
			s.start(nil)
			s.publish(single("first"))
			s.wantEnd("first", provision.Ready, "")
			if _, err := s.cancel("first"); err == nil || !strings.Contains(err.Error(), "it is ready") {
				t.Errorf("cancelling a ready request: %v", err)
			}

			s.publish(single("elsewhere", "region", "zzz"), single("builds"))
			s.eventually("a build", func() bool {
				return s.count(`select count(*) from requests where name = 'builds' and state = 'building'`) == 1
			})
			for _, name := range []string{"elsewhere", "builds"} {
				if _, err := s.cancel(name); err != nil {
					t.Error(err)
				}
			}
			s.wantEnd("elsewhere", provision.Cancelled, "")
			s.wantEnd("builds", provision.Cancelled, "")

			// The answer comes late, or never: the wish is there before it.
			s.script("create", ddsfake.Answer{Delay: time.Second})
			s.publish(single("late"))
			s.wishInFlight("late")
			s.wantEnd("late", provision.Cancelled, "")
			s.script("create", ddsfake.Answer{Kind: ddsfake.TimeoutBefore, Delay: time.Second})
			s.publish(single("nothing"))
			s.wishInFlight("nothing")
			s.wantEnd("nothing", provision.Cancelled, "")
			s.script("create", ddsfake.Answer{Kind: ddsfake.TimeoutAfter, Delay: time.Second})
			s.publish(single("lost"))
			s.wishInFlight("lost")
			if hasTags(dialect) {
				s.wantEnd("lost", provision.Cancelled, "")
			} else {
				s.wantEnd("lost", provision.Failed, "does not carry the mark")
			}
			if living := s.living(); living["first"] != 1 || living["builds"]+living["late"]+living["nothing"]+living["elsewhere"] > 0 || (living["lost"] > 0) == hasTags(dialect) {
				t.Errorf("these live: %v", living)
			}
			if n := s.count(`select count(*) from requests where sealed_password is not null`); n != 0 {
				t.Errorf("%d passwords are kept", n)
			}
			if n := s.count(`select count(*) from events where kind = 'deleting'`); n != s.count(`select count(*) from instances where delete_requested_at is not null`) {
				t.Errorf("%d events tell of a deletion", n)
			}
		})
	}
}

// wishInFlight cancels a request while its call is on its way.
func (s *system) wishInFlight(name string) {
	s.t.Helper()
	s.eventually("a call on its way", func() bool {
		return s.count(`select count(*) from requests r join attempts a using (request_id) where name = $1 and state = 'creating' and outcome is null`, name) == 1
	})
	if _, err := s.cancel(name); err != nil {
		s.t.Error(err)
	}
}

func (s *system) script(op ddsfake.Op, answers ...ddsfake.Answer) {
	s.t.Helper()
	if err := s.cloud.Script(op, answers...); err != nil {
		s.t.Fatal(err)
	}
}

// What the cloud does not delete yet is tried again, and what it never deletes is
// named.
func TestDeletionsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 300 * time.Millisecond, JobLag: -1, SettleLag: -1, DeleteTime: 100 * time.Millisecond})
	s.start(map[string]string{"POLL_INTERVAL": "1s"})
	s.script("delete", ddsfake.Answer{Kind: ddsfake.StateConflict}, ddsfake.Answer{Kind: ddsfake.ServerErrorAfter}, ddsfake.Answer{Kind: ddsfake.TooMany})
	s.publish(single("later"))
	s.eventually("a build", func() bool { return s.count(`select count(*) from requests where state = 'building'`) == 1 })
	if said, err := s.cancel("later"); err != nil || !strings.Contains(said, "is deleted") {
		t.Errorf("%s, %v", said, err)
	}
	s.wantEnd("later", provision.Cancelled, "")

	s.cloud.ClearScripts()
	s.script("delete", ddsfake.Answer{Kind: ddsfake.Forbidden})
	s.publish(single("forbidden"))
	s.eventually("a build", func() bool {
		return s.count(`select count(*) from requests where name = 'forbidden' and state = 'building'`) == 1
	})
	if _, err := s.cancel("forbidden"); err != nil {
		t.Error(err)
	}
	s.wantEnd("forbidden", provision.Failed, "delete it in the console")
}
