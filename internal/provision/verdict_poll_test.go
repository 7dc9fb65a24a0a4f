package provision

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestWhatAPollMeans(t *testing.T) {
	p := DefaultPolicy()
	following := PollClaim{RequestID: "r", InstanceID: "i", JobID: "j", MarksSeen: true, Looks: 2, JobStatus: JobRunning, Progress: 10}
	late, orphanJob := following, following
	unpaid, seen, young := orphanJob, following, following
	late.Age = p.BuildDeadline + 1
	orphanJob.JobID, orphanJob.JobStatus = "", ""
	unpaid.OrderID, unpaid.JobID, unpaid.JobStatus = "CS1", "", ""
	seen.Seen, seen.Settled = true, true
	young.Seen = true
	paid, lateUnpaid := unpaid, unpaid
	paid.Seen, paid.Settled, lateUnpaid.Age = true, true, late.Age
	missed, missedPaid := seen, paid
	missed.Missed, missedPaid.Missed = true, true
	job := func(status string, progress int) *Job {
		return &Job{ID: "j", Status: status, Progress: progress, FailReason: "because"}
	}
	instance := func(status string, actions ...string) *Instance {
		return &Instance{ID: "i", Status: status, Actions: actions}
	}
	tests := []struct {
		name    string
		claim   PollClaim
		seen    Poll
		state   State
		changed bool
		says    string
	}{
		{"running", following, Poll{Job: job(JobRunning, 40)}, Building, true, ""},
		{"running as before", following, Poll{Job: job(JobRunning, 10)}, Building, false, ""},
		{"job not known yet", following, Poll{Instance: instance("creating", "CREATE")}, Building, false, ""},
		{"completed, instance creating", following, Poll{Job: job(JobCompleted, 0), Instance: instance("creating", "CREATE")}, Building, true, ""},
		{"completed, still busy", following, Poll{Job: job(JobCompleted, 0), Instance: instance("normal", "CREATE")}, Building, true, ""},
		{"ready", following, Poll{Job: job(JobCompleted, 0), Instance: instance("normal")}, Ready, true, ""},
		{"ready, followed by its instance", orphanJob, Poll{Instance: instance("normal")}, Ready, true, ""},
		{"job failed", following, Poll{Job: job(JobFailed, 0), Instance: instance("createfail")}, Failed, true, "because"},
		{"job failed, instance not listed", following, Poll{Job: job(JobFailed, 0), Absent: true}, Failed, true, "not listed"},
		{"createfail", orphanJob, Poll{Instance: instance("createfail")}, Failed, true, "createfail"},
		{"abnormal is waited for", following, Poll{Job: job(JobRunning, 10), Instance: instance("abnormal")}, Building, false, ""},
		{"late", late, Poll{Job: job(JobRunning, 10), Instance: instance("creating")}, Failed, true, "instance i "},
		{"late and not listed", late, Poll{Job: job(JobRunning, 10), Absent: true}, Failed, true, "not listed"},
		{"late, but ready under a job that lags behind", late, Poll{Job: job(JobRunning, 10), Instance: instance("normal")}, Ready, true, ""},
		{"late, but the instance was not read", late, Poll{Job: job(JobRunning, 10)}, Building, false, ""},
		{"late, but the look failed", late, Poll{Job: job(JobRunning, 10), Err: errors.New("no")}, Building, false, ""},
		{"late, but not reached", late, Poll{Err: errNotReached}, Building, false, ""},
		{"late, but nothing could be read", late, Poll{Err: errors.New("no")}, Building, false, ""},
		{"frozen is waited for", following, Poll{Job: job(JobCompleted, 10), Instance: instance("frozen")}, Building, true, ""},
		{"frozen too long", late, Poll{Job: job(JobCompleted, 10), Instance: instance("frozen")}, Failed, true, "frozen"},
		{"abnormal too long", late, Poll{Instance: instance("abnormal")}, Failed, true, "abnormal"},
		{"job forgotten, still creating", late, Poll{Instance: instance("creating")}, Failed, true, "status creating"},
		{"job forgotten, ready all the same", late, Poll{Instance: instance("normal")}, Ready, true, ""},
		{"an order that waits for payment", unpaid, Poll{Absent: true}, Building, false, ""},
		{"an order that nobody paid for", lateUnpaid, Poll{Absent: true}, Failed, true, "instance i "},
		{"an order that was delivered", unpaid, Poll{Instance: instance("normal")}, Ready, true, ""},
		{"a delivered order that was not found", paid, Poll{Absent: true}, Building, false, ""},
		{"a delivered order that is gone", missedPaid, Poll{Absent: true}, Failed, true, "somebody deleted it"},
		{"not listed yet", following, Poll{Absent: true}, Building, false, ""},
		{"not found while it was built", seen, Poll{Job: job(JobRunning, 10), Absent: true}, Building, false, ""},
		{"gone while it was built", missed, Poll{Job: job(JobCompleted, 10), Absent: true}, Failed, true, "somebody deleted it"},
		{"seen, and not listed by a list that lags", young, Poll{Absent: true}, Building, false, ""},
		{"nothing could be read", following, Poll{Err: errors.New("no")}, Building, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := p.AfterPoll(tt.claim, tt.seen, time.Minute)
			if r.State != tt.state || r.Changed != tt.changed {
				t.Errorf("%s, changed %v; want %s, %v", r.State, r.Changed, tt.state, tt.changed)
			}
			if r.State != Building && !CanGo(Building, r.State) {
				t.Errorf("no step from building to %s", r.State)
			}
			if r.State == Failed && (r.Failure == nil || !strings.Contains(r.Failure.Message, tt.says) || !strings.Contains(r.Failure.Message, "i")) {
				t.Errorf("it says %+v, want %q", r.Failure, tt.says)
			}
			if r.Progress < tt.claim.Progress {
				t.Errorf("progress fell from %d to %d", tt.claim.Progress, r.Progress)
			}
		})
	}
}

func TestABuildSaysWhatItWaitsFor(t *testing.T) {
	p := DefaultPolicy()
	order := PollClaim{InstanceID: "i", OrderID: "CS1", MarksSeen: true, WaitingFor: "as before"}
	tests := []struct {
		name string
		seen Poll
		want string
	}{
		{"unpaid", Poll{Absent: true}, "order CS1 to be paid"},
		{"frozen", Poll{Instance: &Instance{Status: "frozen"}}, "unfrozen"},
		{"abnormal", Poll{Instance: &Instance{Status: "abnormal"}}, "its status is abnormal"},
		{"data_disk_full", Poll{Instance: &Instance{Status: "data_disk_full"}}, "its status is data_disk_full"},
		{"busy", Poll{Instance: &Instance{Status: "normal", Actions: []string{"CREATE"}}}, "the end of CREATE"},
		{"creating", Poll{Instance: &Instance{Status: "creating", Actions: []string{"CREATE"}}}, ""},
		{"not read", Poll{Err: errors.New("no")}, "as before"},
		{"running, its instance not read", Poll{Job: &Job{Status: JobRunning}}, ""},
	}
	for _, tt := range tests {
		if r := p.AfterPoll(order, tt.seen, time.Minute); r.State != Building || !strings.Contains(r.WaitingFor, tt.want) || (tt.want == "") != (r.WaitingFor == "") {
			t.Errorf("%s: %s, waits for %q, want %q", tt.name, r.State, r.WaitingFor, tt.want)
		}
	}
}
