package provision

import (
	"errors"
	"strings"
	"testing"
)

func TestWhatAPollMeans(t *testing.T) {
	p := DefaultPolicy()
	following := PollClaim{RequestID: "r", InstanceID: "i", JobID: "j", MarksSeen: true, Looks: 2, JobStatus: JobRunning, Progress: 10}
	late, orphanJob := following, following
	late.Age = p.BuildDeadline + 1
	orphanJob.JobID, orphanJob.JobStatus = "", ""
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
		{"nothing could be read", following, Poll{Err: errors.New("no")}, Building, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := p.AfterPoll(tt.claim, tt.seen)
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
