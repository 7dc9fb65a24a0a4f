package app_test

import (
	"strings"
	"testing"
	"time"

	"ddsworker/internal/app"
	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

// retry asks for it as the command does, and returns what it says.
func (s *system) retry(name, password string) (said string, err error) {
	s.t.Helper()
	a := &app.App{Config: s.config(nil)}
	err = a.Retry(s.t.Context(), []string{s.id(name)}, provision.NewSecret(password), "tester", func(_, what string) { said = what })
	return said, err
}

// instance is the id of the instance that the history shows.
func (s *system) instance(name string) string {
	s.t.Helper()
	return s.value(`select coalesce(instance_id, '') from provisioning_history where name = $1`, name)
}

func (s *system) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// hurry makes what waits due now.
func (s *system) hurry() {
	s.t.Helper()
	_, err := s.db.Exec(s.t.Context(), `update requests set next_attempt_at = now() where state = 'pending'`)
	s.must(err)
}

func TestRetrying(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 200 * time.Millisecond, JobLag: -1, SettleLag: -1})
	s.start(nil)
	s.publish(single("warm-up"))
	s.wantEnd("warm-up", provision.Ready, "")
	s.script("create", ddsfake.Answer{Kind: ddsfake.Forbidden}, ddsfake.Answer{Kind: ddsfake.JobFails})
	s.publish(single("forbidden"))
	s.wantEnd("forbidden", provision.Failed, "")
	s.publish(single("broken"))
	s.wantEnd("broken", provision.Failed, "")

	for password, want := range map[string]string{"": "--password-file", "short": "breaks a rule"} {
		if _, err := s.retry("forbidden", password); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a retry with %d characters: %v", len(password), err)
		}
	}
	const again = "Canary-8#yRz"
	for _, name := range []string{"forbidden", "broken"} {
		if said, err := s.retry(name, again); err != nil || !strings.HasPrefix(said, "is retried") {
			t.Fatalf("%s: %s, %v", name, said, err)
		}
	}
	s.wantEnd("forbidden", provision.Ready, "")
	failed := s.instance("broken")
	s.eventually("the failed instance to be waited for", func() bool {
		return s.count(`select count(*) from provisioning_history where name = 'broken' and state = 'pending' and error_message like '%' || $1 || '%delete it%'`, failed) == 1
	})
	s.must(s.cloud.Remove(failed))
	s.hurry()
	s.wantEnd("broken", provision.Ready, "")
	if made := s.instance("broken"); made == failed {
		t.Error("the failed instance was handed out")
	}
	if living := s.living(); living["broken"] != 1 || living["forbidden"] != 1 {
		t.Errorf("these live: %v", living)
	}
	if n := s.count(`select count(*) from marks join requests using (request_id) where name = 'broken'`); n != 2 {
		t.Errorf("%d marks of a request that was retried once", n)
	}
	if strings.Contains(s.everything(), again) || strings.Contains(s.log.String(), again) {
		t.Error("the new password was kept")
	}
	if _, err := s.retry("broken", again); err == nil || !strings.Contains(err.Error(), "it is ready") {
		t.Errorf("retrying what is ready: %v", err)
	}
}

// What failed for time alone, and lives, is taken when it is retried, also where wrong
// answers had it taken for gone.
func TestARetryTakesWhatLives(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 200 * time.Millisecond, JobLag: -1, SettleLag: -1})
	w := s.start(map[string]string{"BUILD_DEADLINE": "2s"})
	s.script("create", ddsfake.Answer{Delay: 100 * time.Millisecond}, ddsfake.Answer{Delay: 100 * time.Millisecond})
	if err := s.cloud.SetFaults(ddsfake.Faults{"job": {ddsfake.Forbidden: 1}, "jobs": {ddsfake.Forbidden: 1}}); err != nil {
		t.Fatal(err)
	}
	made := map[string]string{}
	for _, name := range []string{"slow", "hidden"} {
		s.freezeNext(name)
		s.wantEnd(name, provision.Failed, "was not ready within 2s (status frozen")
		made[name] = s.instance(name)
	}
	w.stop()
	_, err := s.db.Exec(t.Context(), `update instances set gone_at = now(), next_look_at = null, status = 'deleted' where instance_id = $1`, made["hidden"])
	s.must(err)
	s.start(map[string]string{"WORKER_NAME": "next", "BUILD_DEADLINE": "2h"})
	for name, id := range made {
		s.must(s.cloud.SetStatus(id, ""))
		if said, err := s.retry(name, "Canary-8#yRz"); err != nil || name == "slow" && !strings.Contains(said, id) {
			t.Fatal(said, err)
		}
		s.wantEnd(name, provision.Ready, "")
		if s.instance(name) != id {
			t.Errorf("%s: another instance was made", name)
		}
	}
	if n := len(s.cloud.Instances()); n != 2 {
		t.Errorf("%d instances", n)
	}
}

// freezeNext publishes a request and has its instance frozen as soon as it exists.
func (s *system) freezeNext(name string) {
	s.t.Helper()
	s.publish(single(name))
	s.eventually("an instance", func() bool {
		for _, i := range s.cloud.Instances() {
			if i.Name == name {
				return s.cloud.SetStatus(i.ID, "frozen") == nil
			}
		}
		return false
	})
}
