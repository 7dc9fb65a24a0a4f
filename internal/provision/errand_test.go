package provision_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/provision/storetest"
)

// slowCloud is a cloud whose calls are counted and that holds what a test puts there,
// newest first.
type slowCloud struct {
	mu        sync.Mutex
	instances []provision.Instance
	job       provision.Job
	calls     []time.Time
}

func (c *slowCloud) call() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, time.Now())
}

func (c *slowCloud) ListInstances(_ context.Context, _ string, q provision.InstanceQuery) (page provision.InstancePage, _ error) {
	c.call()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.instances {
		if (q.ID == "" || q.ID == i.ID) && (q.Name == "" || q.Name == i.Name) {
			if page.Total++; page.Total > q.Offset && len(page.Instances) < q.Limit {
				page.Instances = append(page.Instances, i)
			}
		}
	}
	return page, nil
}

func (c *slowCloud) Job(context.Context, string, string) (provision.Job, error) {
	c.call()
	return c.job, nil
}

func (c *slowCloud) Jobs(context.Context, string, provision.JobWindow) (provision.JobPage, error) {
	c.call()
	return provision.JobPage{}, &provision.CloudError{Class: provision.ClassNotOffered}
}

func (c *slowCloud) DeleteInstance(_ context.Context, _, id string) (string, string, error) {
	c.call()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.instances = slices.DeleteFunc(c.instances, func(i provision.Instance) bool { return i.ID == id })
	return "", "", nil
}

func (c *slowCloud) has(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.instances, func(i provision.Instance) bool { return i.ID == id })
}

// rounds is a store of audits that finds an orphan due for its deletion.
type rounds struct {
	orphan string
	mu     sync.Mutex
	listed int
	told   chan provision.Deletion
}

func (s *rounds) ClaimAudit(_ context.Context, served provision.Served, _ time.Duration) (provision.AuditClaim, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listed > 0 || len(served.Projects) == 0 {
		return provision.AuditClaim{}, false, nil
	}
	return provision.AuditClaim{ProjectID: "p", Round: 2}, true, nil
}

func (s *rounds) MarkFacts(context.Context, []provision.Instance, time.Time) (map[string]provision.MarkFacts, error) {
	return nil, nil
}

func (s *rounds) RecordSightings(context.Context, provision.AuditClaim, []provision.Sighting) ([]string, error) {
	return nil, nil
}

func (s *rounds) FinishAudit(_ context.Context, c provision.AuditClaim, listed []string, _ provision.OrphanRules, problem error) ([]provision.Orphan, error) {
	if problem != nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = len(listed)
	return []provision.Orphan{{InstanceID: s.orphan, ProjectID: c.ProjectID, Mark: "mark", RequestID: "r"}}, nil
}

func (s *rounds) NoteMarksSeen(context.Context, string) error { return nil }

func (s *rounds) IntendDeletion(context.Context, provision.Orphan, provision.OrphanRules) (bool, error) {
	return true, nil
}

func (s *rounds) RecordDeletion(_ context.Context, d provision.Deletion) error {
	s.told <- d
	return nil
}

// slowly runs what reads of n workers with a rate limit of project p, beside a backlog
// of creates, until settled returns true. It fails where that takes longer than a day,
// where a span of the limit holds more calls than it allows, or where the creates get
// less than their share.
func slowly(t *testing.T, limit provision.RateLimit, rows *storetest.Memory, cloud *slowCloud, audits *rounds, settled func() bool) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	creates, began := 0, time.Now()
	for n := range 2 {
		log, health := slog.New(slog.DiscardHandler), provision.NewHealth(slog.New(slog.DiscardHandler))
		budget := provision.NewBudget(rows, provision.Limits{Project: []provision.RateLimit{limit}}, health, log)
		paced, served, policy := provision.Paced{Cloud: cloud, Budget: budget}, provision.Served{Region: "r", Projects: []string{"p"}}, provision.DefaultPolicy()
		policy.BuildDeadline = 24 * time.Hour
		look, poll := provision.NewBell(), provision.NewBell()
		budget.Given = []provision.Bell{look, poll}
		running.Go(func() { budget.Run(ctx) })
		for range 4 {
			running.Go(func() {
				for ctx.Err() == nil {
					call, cancel := context.WithTimeout(ctx, policy.CallTimeout)
					if budget.Wait(call, "p", provision.LaneCreate) == nil {
						cloud.call()
						cloud.mu.Lock()
						creates++
						cloud.mu.Unlock()
					}
					cancel()
				}
			})
		}
		r := &provision.Reconciler{Cloud: paced, Budget: budget, Store: rows, Policy: policy, Served: served, Worker: fmt.Sprint(n),
			Concurrency: 4, Health: health, Log: log, Due: look}
		p := &provision.Poller{Jobs: paced, Instances: paced, Deleter: paced, Budget: budget, Store: rows, Policy: policy, Served: served,
			Worker: fmt.Sprint(n), Batch: 100, Concurrency: 4, Health: health, Log: log, Due: poll}
		running.Go(func() { r.Run(ctx, t.Context()) })
		running.Go(func() { p.Run(ctx, t.Context()) })
		if n == 0 && audits != nil {
			a := &provision.Auditor{Cloud: paced, Deleter: paced, Store: audits, Deletions: audits, Served: served, Installation: "i",
				CallTimeout: policy.CallTimeout, Health: health, Log: log}
			running.Go(func() { a.Run(ctx, t.Context()) })
		}
	}
	for !settled() && time.Since(began) < 24*time.Hour {
		time.Sleep(time.Second)
	}
	took := time.Since(began)
	stop()
	running.Wait()
	t.Logf("took %v, with %d creates and %d other calls", took, creates, len(cloud.calls)-creates)
	if !settled() {
		t.Errorf("not settled after %v", took)
	}
	for n := limit.Calls; n < len(cloud.calls); n++ {
		if span := cloud.calls[n].Sub(cloud.calls[n-limit.Calls]); span < limit.Per {
			t.Errorf("%d calls within %v", limit.Calls+1, span)
			break
		}
	}
	if want := took.Seconds() * float64(limit.Calls) / limit.Per.Seconds() / 2; float64(creates) < want-1 {
		t.Errorf("%d creates in %v, want at least %.0f", creates, took, want)
	}
}

// TestWhatTakesSeveralCallsEndsAtAnyRate: a unit of work whose calls have to wait
// longer for their slots than its claim holds ends all the same.
func TestWhatTakesSeveralCallsEndsAtAnyRate(t *testing.T) {
	for _, limit := range []provision.RateLimit{{Name: "10/1m", Calls: 10, Per: time.Minute}, {Name: "200/5m", Calls: 200, Per: 5 * time.Minute},
		{Name: "1/1m", Calls: 1, Per: time.Minute}} {
		for name, scenario := range map[string]func(*testing.T, provision.RateLimit){
			"a cancelled build is deleted":           cancelledBuild,
			"a retry finds what was renamed":         renamedSinceFailed,
			"an orphan of a long list is deleted":    orphanOfALongList,
			"a late build is ready":                  lateBuild,
			"a list of many namesakes is read whole": manyNamesakes,
		} {
			t.Run(limit.Name+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { scenario(t, limit) })
			})
		}
	}
}

// built returns a store with requests that are being built.
func built(t *testing.T, ids ...string) *storetest.Memory {
	t.Helper()
	rows := storetest.NewMemory()
	if err := rows.NoteMarksSeen(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	for _, c := range called(t, rows, ids...) {
		err := rows.RecordCreates(t.Context(), []provision.CreateResult{{RequestID: c.RequestID, Fence: c.Fence, Attempt: c.Attempt, Outcome: provision.OutcomeCreated,
			Created: provision.Created{InstanceID: "i-" + c.RequestID, JobID: "j-" + c.RequestID}, Next: provision.Next{State: provision.Building}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

func called(t *testing.T, rows *storetest.Memory, ids ...string) []provision.CreateClaim {
	t.Helper()
	for _, id := range ids {
		_, err := rows.Accept(t.Context(), []provision.NewRequest{{ID: id, ProjectID: "p", Region: "r", Name: id, Mode: "Single", Spec: []byte("{}")}}, provision.ClaimQuery{})
		if err != nil {
			t.Fatal(err)
		}
	}
	claims, err := rows.ClaimCreates(t.Context(), provision.ClaimQuery{Served: provision.Served{Region: "r", Projects: []string{"p"}}, Limit: len(ids), Lease: time.Second})
	if err != nil || len(claims) != len(ids) {
		t.Fatal(len(claims), err)
	}
	return claims
}

func told(t *testing.T, rows *storetest.Memory, id string) (last provision.State) {
	t.Helper()
	events, _, err := rows.Unpublished(t.Context(), 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.RequestID == id {
			last = e.State
		}
	}
	return last
}

func cancelledBuild(t *testing.T, limit provision.RateLimit) {
	rows, cloud := built(t, "a", "b", "c"), &slowCloud{job: provision.Job{ID: "j", Status: provision.JobRunning}}
	for _, id := range []string{"a", "b", "c"} {
		cloud.instances = append(cloud.instances, provision.Instance{ID: "i-" + id, Name: id, Status: provision.InstanceCreating})
	}
	if _, err := rows.Cancel(t.Context(), []string{"a"}, "somebody"); err != nil {
		t.Fatal(err)
	}
	slowly(t, limit, rows, cloud, nil, func() bool { return told(t, rows, "a") == provision.Cancelled })
	if cloud.has("i-a") {
		t.Error("the instance is still there")
	}
}

func renamedSinceFailed(t *testing.T, limit provision.RateLimit) {
	rows := built(t, "a")
	cloud := &slowCloud{instances: []provision.Instance{{ID: "i-a", Name: "renamed", Status: provision.InstanceNormal}}}
	err := rows.RecordPolls(t.Context(), []provision.PollResult{{RequestID: "a", InstanceID: "i-a", State: provision.Failed, Failure: &provision.Failure{Message: "late"}}})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := rows.Retry(t.Context(), "a", nil, "somebody"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	slowly(t, limit, rows, cloud, nil, func() bool { return told(t, rows, "a") == provision.Ready })
}

func orphanOfALongList(t *testing.T, limit provision.RateLimit) {
	cloud, audits := &slowCloud{}, &rounds{orphan: "orphan", told: make(chan provision.Deletion, 1)}
	for n := range 250 {
		cloud.instances = append(cloud.instances, provision.Instance{ID: fmt.Sprint("i", n)})
	}
	cloud.instances = append(cloud.instances, provision.Instance{ID: "orphan", Tags: map[string]string{provision.TagRequest: "mark", provision.TagInstallation: "i"}})
	// Beside it others are read all the time.
	rows := built(t, "a", "b", "c", "d", "e")
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		cloud.instances = append(cloud.instances, provision.Instance{ID: "i-" + id, Status: provision.InstanceCreating})
	}
	slowly(t, limit, rows, cloud, audits, func() bool { return len(audits.told) > 0 })
	if d := <-audits.told; !d.Accepted || cloud.has("orphan") || audits.listed != 256 {
		t.Errorf("%+v, of %d instances", d, audits.listed)
	}
}

func lateBuild(t *testing.T, limit provision.RateLimit) {
	rows := built(t, "a")
	cloud := &slowCloud{job: provision.Job{ID: "j-a", Status: provision.JobCompleted},
		instances: []provision.Instance{{ID: "i-a", Name: "a", Status: provision.InstanceNormal}}}
	time.Sleep(90 * time.Minute)
	slowly(t, limit, rows, cloud, nil, func() bool { return told(t, rows, "a") == provision.Ready })
}

func manyNamesakes(t *testing.T, limit provision.RateLimit) {
	rows := built(t)
	c := called(t, rows, "a")[0]
	cloud := &slowCloud{}
	for n := range 249 {
		cloud.instances = append(cloud.instances, provision.Instance{ID: fmt.Sprint("i", n), Name: "a", Tags: map[string]string{"k": "v"}})
	}
	cloud.instances = append(cloud.instances, provision.Instance{ID: "ours", Name: "a", Status: provision.InstanceNormal, Tags: map[string]string{provision.TagRequest: c.Mark}})
	err := rows.RecordCreates(t.Context(), []provision.CreateResult{{RequestID: "a", Fence: c.Fence, Attempt: c.Attempt, Outcome: provision.OutcomeUnknown,
		Failure: &provision.Failure{Message: "lost"}, Next: provision.Next{State: provision.Creating}}})
	if err != nil {
		t.Fatal(err)
	}
	slowly(t, limit, rows, cloud, nil, func() bool { return told(t, rows, "a") == provision.Ready })
}
