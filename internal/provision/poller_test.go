package provision

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pollCloud is a cloud whose every call takes some time.
type pollCloud struct {
	took      time.Duration
	jobs      []Job // in the order of the list
	noList    bool
	failPage  int // offset of the page of the job list that cannot be read; 0: none
	failList  error
	forbidden time.Time  // when the job list is forbidden; zero: never
	instances []Instance // in the order of the list
	failOne   error      // of an instance asked for by its id
	failPages error      // of a page of instances

	mu    sync.Mutex
	calls map[string]int
}

func (c *pollCloud) call(ctx context.Context, name string) error {
	c.mu.Lock()
	if c.calls == nil {
		c.calls = map[string]int{}
	}
	c.calls[name]++
	c.mu.Unlock()
	Bell(nil).wait(ctx, c.took)
	return ctx.Err()
}

func (c *pollCloud) Job(ctx context.Context, _, id string) (Job, error) {
	if err := c.call(ctx, "job"); err != nil {
		return Job{}, err
	}
	for _, j := range c.jobs {
		if j.ID == id {
			return j, nil
		}
	}
	return Job{}, &CloudError{Class: ClassGone}
}

func (c *pollCloud) Jobs(ctx context.Context, _ string, w JobWindow) (JobPage, error) {
	switch err := c.call(ctx, "jobs"); {
	case err != nil:
		return JobPage{}, err
	case c.noList:
		return JobPage{}, &CloudError{Class: ClassNotOffered}
	case !c.forbidden.IsZero() && time.Now().After(c.forbidden):
		return JobPage{}, &CloudError{Class: ClassForbidden}
	case c.failList != nil:
		return JobPage{}, c.failList
	case c.failPage > 0 && w.Offset >= c.failPage:
		return JobPage{}, &CloudError{Class: ClassServer, Message: "no second page"}
	}
	from := min(w.Offset, len(c.jobs))
	return JobPage{Jobs: c.jobs[from:min(from+w.Limit, len(c.jobs))]}, nil
}

func (c *pollCloud) ListInstances(ctx context.Context, _ string, q InstanceQuery) (InstancePage, error) {
	if q.ID == "" {
		if err := errors.Join(c.call(ctx, "instances"), c.failPages); err != nil {
			return InstancePage{}, err
		}
		from := min(q.Offset, len(c.instances))
		return InstancePage{Instances: c.instances[from:min(from+q.Limit, len(c.instances))], Total: len(c.instances)}, nil
	}
	if err := errors.Join(c.call(ctx, "instance"), c.failOne); err != nil {
		return InstancePage{}, err
	}
	for _, i := range c.instances {
		if i.ID == q.ID {
			return InstancePage{Instances: []Instance{i}, Total: 1}, nil
		}
	}
	return InstancePage{}, &CloudError{Class: ClassGone}
}

// pollRows keeps claims as the database does.
type pollRows struct {
	rows []PollClaim

	mu   sync.Mutex
	due  map[string]time.Time
	last map[string]PollResult
}

func (s *pollRows) ClaimPolls(_ context.Context, q ClaimQuery) ([]PollClaim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.due == nil {
		s.due, s.last = map[string]time.Time{}, map[string]PollResult{}
		for _, c := range s.rows {
			s.due[c.InstanceID] = time.Now()
		}
	}
	var out []PollClaim
	for _, c := range s.rows {
		at, following := s.due[c.InstanceID]
		if following && !at.After(time.Now().Add(q.Slack)) && len(out) < q.Limit {
			s.due[c.InstanceID] = time.Now().Add(q.Lease)
			out = append(out, c)
		}
	}
	return out, nil
}

func (s *pollRows) KeepPoll(context.Context, string, time.Duration) (bool, error) { return true, nil }

func (s *pollRows) RecordPolls(_ context.Context, batch []PollResult) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range batch {
		s.last[r.InstanceID] = r
		s.due[r.InstanceID] = time.Now().Add(r.Delay)
		if r.State != Building {
			delete(s.due, r.InstanceID)
		}
	}
	return nil
}

func (s *pollRows) LearnBuilds(context.Context, []string, []BuildSpan) ([]BuildSpan, error) {
	return nil, nil
}

func (s *pollRows) NoteMarksSeen(context.Context, string) error { return nil }

func (s *pollRows) in(state State) int {
	n := 0
	for _, r := range s.last {
		if r.State == state {
			n++
		}
	}
	return n
}

func building(n int) PollClaim {
	return PollClaim{RequestID: fmt.Sprint("r", n), InstanceID: fmt.Sprint("i", n), JobID: fmt.Sprint("j", n),
		ProjectID: "p", MarksSeen: true, Looks: 9, JobStatus: JobRunning}
}

// finished returns n claims, and a cloud that has finished all of them.
func finished(n int) (*pollRows, *pollCloud) {
	rows, cloud := &pollRows{}, &pollCloud{took: 150 * time.Millisecond}
	for i := range n {
		c := building(i)
		rows.rows = append(rows.rows, c)
		cloud.jobs = append(cloud.jobs, Job{ID: c.JobID, InstanceID: c.InstanceID, Status: JobCompleted})
		cloud.instances = append(cloud.instances, Instance{ID: c.InstanceID, Status: InstanceNormal})
	}
	return rows, cloud
}

func others(n int) (jobs []Job, instances []Instance) {
	for i := range n {
		jobs = append(jobs, Job{ID: fmt.Sprint("other-j", i), Status: JobCompleted})
		instances = append(instances, Instance{ID: fmt.Sprint("other-i", i), Status: InstanceNormal})
	}
	return jobs, instances
}

// poll runs a poller for d and returns its health at the end.
func poll(t *testing.T, rows *pollRows, cloud *pollCloud, d time.Duration) *Health {
	t.Helper()
	p := &Poller{Jobs: cloud, Instances: cloud, Store: rows, Policy: DefaultPolicy(), Served: Served{Projects: []string{"p"}},
		Batch: 1000, Concurrency: 8, Health: quietHealth(), Log: slog.New(slog.DiscardHandler), Due: NewBell()}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	p.Run(ctx, t.Context())
	return p.Health
}

func TestManyBuildsWithoutAJobListAllEnd(t *testing.T) {
	tests := []struct {
		name   string
		buried int           // other instances in front of ours in the list
		took   time.Duration // a call
	}{
		{"found by the list", 0, 150 * time.Millisecond},
		{"buried in the list", 300, 150 * time.Millisecond},
		{"buried, slow cloud", 300, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rows, cloud := finished(600)
				cloud.noList, cloud.took = true, tt.took
				_, front := others(tt.buried)
				cloud.instances = append(front, cloud.instances...)
				poll(t, rows, cloud, 5*time.Minute)
				if n := rows.in(Ready); n != 600 {
					t.Errorf("%d of 600 are ready", n)
				}
			})
		})
	}
}

func TestAReadThatStartedLateHasItsWholeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows, cloud := finished(10)
		cloud.took = 9 * time.Second // the job list ends shortly before the round takes no more reads
		poll(t, rows, cloud, time.Minute)
		if n := rows.in(Ready); n != 10 {
			t.Errorf("%d of 10 are ready", n)
		}
	})
}

func TestUnreachedBuildsAreSoonDueAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows, cloud := finished(600)
		cloud.noList, cloud.took = true, 9*time.Second
		_, cloud.instances = others(1)
		poll(t, rows, cloud, time.Second)
		for id, r := range rows.last {
			if r.State != Building || r.Delay > time.Second {
				t.Fatalf("%s is %s, due in %s", id, r.State, r.Delay)
			}
		}
		if len(rows.last) != 600 || cloud.calls["job"]+cloud.calls["instance"] > 1 {
			t.Errorf("%d results after %v", len(rows.last), cloud.calls)
		}
	})
}

func TestAClaimWithoutAJobReadsNoPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows, cloud := finished(2)
		rows.rows[1].JobID, rows.rows[1].Age = "", time.Hour
		cloud.instances[1].Status = "creating"
		cloud.jobs = cloud.jobs[:1]
		more, _ := others(20_000)
		cloud.jobs = append(cloud.jobs, more...)
		poll(t, rows, cloud, time.Minute)
		if rows.last["i0"].State != Ready || rows.last["i1"].State != Building {
			t.Errorf("with a job: %s, without: %s", rows.last["i0"].State, rows.last["i1"].State)
		}
		if cloud.calls["jobs"] != 0 {
			t.Errorf("%d pages of the job list were read", cloud.calls["jobs"])
		}
	})
}

func TestJobsThatAreNotListedCostABoundedNumberOfPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows, cloud := finished(10)
		cloud.took = time.Millisecond
		cloud.jobs, _ = others(20_000)
		poll(t, rows, cloud, time.Second)
		if cloud.calls["jobs"] > 2 || rows.in(Ready) != 10 {
			t.Errorf("%d are ready after %v", rows.in(Ready), cloud.calls)
		}
	})
}

func TestALateBuildIsReadByItsIDOnceItsJobRunsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows, cloud := finished(40)
		for i := range rows.rows {
			rows.rows[i].Age, rows.rows[i].Since = 100*time.Minute, time.Minute
			if i > 0 {
				cloud.jobs[i].Status, cloud.instances[i].Status = JobRunning, "creating"
			}
		}
		poll(t, rows, cloud, time.Second)
		if rows.in(Ready) != 1 || len(rows.last) != 40 {
			t.Errorf("%d of %d are ready, want 1 of 40", rows.in(Ready), len(rows.last))
		}
		if cloud.calls["jobs"] != 1 || cloud.calls["instance"] > 1 || cloud.calls["instances"] != 0 {
			t.Errorf("%v, want one page of jobs and one instance", cloud.calls)
		}
	})
}

func TestABrokenPageKeepsWhatTheOneBeforeTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows, cloud := finished(110)
		cloud.failPage = pageSize
		for i := range cloud.jobs {
			cloud.jobs[i].Status, cloud.jobs[i].Progress = JobRunning, 40
			cloud.instances[i].Status = "creating"
		}
		health := poll(t, rows, cloud, time.Second)
		for n, c := range rows.rows {
			// Of the others the instances were read, or their jobs one by one.
			if r := rows.last[c.InstanceID]; n < pageSize && r.Progress != 40 || r.State != Building {
				t.Errorf("%s: %d%%, %s; want 40%%", c.InstanceID, r.Progress, r.State)
			}
		}
		if !inTrouble(health, "job list of p") {
			t.Error("the broken list is not reported")
		}
	})
}

// A page that can never be read leaves nothing unread for ever, and an outage costs no
// call for each build.
func TestWhatIsOnABrokenPageIsReadByItsID(t *testing.T) {
	broken := &CloudError{Class: ClassServer, Message: "broken"}
	for _, each := range []error{nil, broken} {
		synctest.Test(t, func(t *testing.T) {
			rows, cloud := finished(110)
			cloud.noList, cloud.failPages, cloud.failOne = true, broken, each
			health := poll(t, rows, cloud, 5*time.Minute)
			if want := map[bool]int{true: 110}[each == nil]; rows.in(Ready) != want {
				t.Errorf("%d of 110 are ready, want %d", rows.in(Ready), want)
			}
			if each != nil && !inTrouble(health, "instance list of p") {
				t.Error("the broken list is not reported")
			}
			if pages, singles := cloud.calls["instances"], cloud.calls["instance"]; singles > 110+mostAlone*pages {
				t.Errorf("%d reads of single instances beside %d of pages", singles, pages)
			}
		})
	}
}

func TestTheBuildDeadlineNeedsAFreshLook(t *testing.T) {
	tests := []struct {
		name   string
		status string // of the instance; empty: gone
		fail   error  // of the look
		state  State
	}{
		{"still creating", "creating", nil, Failed},
		{"gone", "", nil, Failed},
		{"ready under a job that lags behind", InstanceNormal, nil, Ready},
		{"forbidden", "creating", &CloudError{Class: ClassForbidden}, Building},
		{"no answer", "creating", &CloudError{Class: ClassLost}, Building},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rows, cloud := finished(1)
				rows.rows[0].Age = DefaultPolicy().BuildDeadline + time.Minute
				cloud.jobs[0].Status, cloud.instances[0].Status, cloud.failOne = JobRunning, tt.status, tt.fail
				if tt.status == "" {
					cloud.instances = nil
				}
				health := poll(t, rows, cloud, time.Second)
				if got := rows.last["i0"].State; got != tt.state {
					t.Errorf("%s, want %s", got, tt.state)
				}
				if inTrouble(health, "instance list of p") != (tt.fail != nil) {
					t.Errorf("problems: %v", health.Problems())
				}
			})
		})
	}
}

func TestTroubleEndsWithItsCause(t *testing.T) {
	broken := &CloudError{Class: ClassServer, Message: "broken"}
	t.Run("nothing left to poll", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rows, cloud := finished(2) // their instances end them
			cloud.failList = broken
			if health := poll(t, rows, cloud, time.Second); !inTrouble(health, "job list of p") || rows.in(Ready) != 2 {
				t.Fatalf("%v, %d ready", health.Problems(), rows.in(Ready))
			}
			rows.due = nil
			if health := poll(t, rows, cloud, time.Hour); len(health.Problems()) != 0 {
				t.Errorf("problems: %v", health.Problems())
			}
		})
	})
	t.Run("no list any more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rows, cloud := finished(2)
			cloud.failList, cloud.instances[0].Status, cloud.instances[1].Status = broken, "creating", "creating"
			cloud.forbidden = time.Now().Add(time.Minute)
			if health := poll(t, rows, cloud, 70*time.Second); len(health.Problems()) != 0 {
				t.Errorf("problems: %v", health.Problems())
			}
		})
	})
}

func inTrouble(h *Health, part string) bool {
	return slices.ContainsFunc(h.Problems(), func(p Problem) bool { return strings.HasPrefix(p.Part, part) })
}
