package app_test

import (
	"strings"
	"testing"
	"time"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

// prepaid is a request for an instance that is paid for by the month.
func prepaid(name string, autoPay bool) []byte {
	charge := `{"charge_mode":"prePaid","period_type":"month","period_num":1,"is_auto_pay":false}`
	if autoPay {
		charge = strings.Replace(charge, "false", "true", 1)
	}
	return []byte(strings.Replace(string(single(name, "charge_info", "HERE")), `"HERE"`, charge, 1))
}

func (s *system) wantWaiting(name, words string) {
	s.t.Helper()
	s.eventually(name+" to say that it waits for "+words, func() bool {
		return s.count(`select count(*) from provisioning_history where name = $1 and state = 'building' and error_message like '%' || $2 || '%'`, name, words) == 1
	})
}

// Whatever becomes of the job, the instance decides.
func TestBuildsWhoseJobTellsNothing(t *testing.T) {
	t.Parallel()
	for name, cloud := range map[string]ddsfake.Config{
		"never known":       {JobLag: time.Hour},
		"forgotten":         {JobRetention: time.Nanosecond},
		"forbidden to read": {Faults: ddsfake.Faults{"job": {ddsfake.Forbidden: 1}, "jobs": {ddsfake.Forbidden: 1}}},
		"known late":        {JobLag: time.Second, SettleLag: 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud.JobMin = 500 * time.Millisecond
			s := newSystem(t, cloud)
			s.start(nil)
			s.script("create", ddsfake.Answer{}, ddsfake.Answer{Kind: ddsfake.TimeoutAfter})
			s.publish(single("told"), single("lost"))
			s.wantState(provision.Ready, 2)
			s.wantOneEach(2)
		})
	}
}

func TestBuildsThatWaitForPeople(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 300 * time.Millisecond, JobLag: -1, SettleLag: -1})
	s.start(nil)
	s.publish(prepaid("order", false))
	s.wantWaiting("order", "to be paid")
	s.must(s.cloud.Pay(s.instance("order")))
	s.wantEnd("order", provision.Ready, "")

	s.freezeNext("frozen")
	s.wantWaiting("frozen", "to be unfrozen")
	s.must(s.cloud.SetStatus(s.instance("frozen"), "abnormal"))
	s.wantWaiting("frozen", "status is abnormal")
	s.must(s.cloud.SetStatus(s.instance("frozen"), ""))
	s.wantEnd("frozen", provision.Ready, "")

	// What is paid for in advance cannot be deleted here, and an open order neither.
	s.publish(prepaid("cancelled-order", false))
	s.wantWaiting("cancelled-order", "to be paid")
	if _, err := s.cancel("cancelled-order"); err != nil {
		t.Error(err)
	}
	s.wantEnd("cancelled-order", provision.Failed, "cancel it in the console")
}

func TestWhatIsPaidForIsNotDeletedHere(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 3 * time.Second, JobLag: -1, SettleLag: -1})
	s.start(nil)
	s.publish(prepaid("paid", true))
	s.eventually("a build that was seen", func() bool { return s.count(`select count(*) from instances where seen_at is not null`) == 1 })
	if _, err := s.cancel("paid"); err != nil {
		t.Fatal(err)
	}
	s.wantEnd("paid", provision.Failed, "unsubscribe")
	if id := s.instance("paid"); !strings.Contains(s.value(`select error_message from provisioning_history`), id) {
		t.Error("the instance is not named")
	}
}

func TestAnInstanceThatSomebodyDeletesWhileItIsBuilt(t *testing.T) {
	t.Parallel()
	s := newSystem(t, ddsfake.Config{JobMin: 2 * time.Minute, JobLag: -1, SettleLag: -1})
	s.start(nil)
	s.publish(prepaid("deleted", true)) // it has no job, so its instance is followed
	s.eventually("a build that was seen", func() bool { return s.count(`select count(*) from instances where seen_at is not null`) == 1 })
	s.must(s.cloud.Remove(s.instance("deleted")))
	s.wantEnd("deleted", provision.Failed, "somebody deleted it")
	if n := s.count(`select count(*) from instances where gone_at is not null`); n != 1 {
		t.Error("it is not recorded as gone")
	}
}
