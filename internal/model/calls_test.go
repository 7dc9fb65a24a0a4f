package model

import (
	"context"
	"fmt"
	"time"

	"ddsworker/internal/provision"
)

// calls is the cloud as a process sees it.
type calls struct{ *process }

func refusal(op string, class provision.Class, code string) *provision.CloudError {
	return &provision.CloudError{Op: op, Class: class, Code: code, Message: "because the test says so", RequestID: "cr"}
}

// wait lets the answer take its time; the context may end before.
func wait(ctx context.Context, op string, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return refusal(op, provision.ClassLost, "")
	}
}

// CreateInstance lets the call happen or not, now or later, and answers as the
// dice say. One whose time is over never leaves, as the real client promises.
func (c calls) CreateInstance(ctx context.Context, projectID string, body []byte) (provision.Created, error) {
	const op = "create instance"
	return effect(c.process, func() (provision.Created, error) {
		if ctx.Err() != nil || !time.Now().Before(deadlineOf(ctx)) {
			return provision.Created{}, refusal(op, provision.ClassNotSent, "")
		}
		d := c.w.dice("create")
		k := c.w.cloud.arrive(ctx, body)
		short, left := time.Duration(d.Int64N(int64(2*time.Second))), time.Until(k.deadline)
		late := time.Duration(d.Int64N(int64(left)) + 1)
		x := d.Float64()
		if c.w.isCalm() {
			x = 1
		}
		answer := func(class provision.Class, code string) (provision.Created, error) {
			c.w.tally("create " + string(class))
			if err := wait(ctx, op, short); err != nil {
				return provision.Created{}, err
			}
			e := refusal(op, class, code)
			if class == provision.ClassRate && d.IntN(2) == 0 {
				e.RetryAfter = time.Duration(d.Int64N(int64(time.Minute)))
			}
			return provision.Created{}, e
		}
		proof := func(class provision.Class, code string) (provision.Created, error) {
			created, err := answer(class, code)
			if provision.AsCloudError(err).Class == class {
				c.w.cloud.prove(k)
			}
			return created, err
		}
		each := c.w.plan.Cloud / 10
		switch {
		case x < each:
			return proof(provision.ClassRate, "APIGW.0308")
		case x < 2*each:
			return proof(provision.ClassAuth, "APIGW.0301")
		case x < 3*each: // busy, and nothing happened
			return answer(provision.ClassBusy, "DBS.200998")
		case x < 4*each: // busy, and yet it happened
			c.w.cloud.execute(k, projectID, d, 0)
			return answer(provision.ClassBusy, "DBS.200998")
		case x < 5*each:
			return answer(provision.ClassServer, "DBS.280005")
		case x < 6*each:
			c.w.cloud.execute(k, projectID, d, late)
			return answer(provision.ClassServer, "DBS.280005")
		case x < 7*each: // lost on its way there
			return answer(provision.ClassLost, "")
		case x < 8*each: // a broken connection, and executed whenever
			c.w.cloud.execute(k, projectID, d, late)
			return answer(provision.ClassLost, "")
		case x < 9*each: // hangs
			c.w.tally("create hangs")
			c.w.cloud.execute(k, projectID, d, late)
			return provision.Created{}, wait(ctx, op, time.Hour)
		case x < 9*each+c.w.plan.Permanent:
			return proof(provision.ClassQuota, "DBS.280019")
		}
		m := c.w.cloud.execute(k, projectID, d, 0)
		if m == nil {
			return proof(provision.ClassConflict, "DBS.200022")
		}
		if err := wait(ctx, op, short); err != nil {
			return provision.Created{}, err
		}
		created := provision.Created{InstanceID: m.id, JobID: m.jobID, Status: "creating", HTTPStatus: 202, CloudRequestID: "cr"}
		if c.w.prepaid(k.Request) {
			created.JobID, created.OrderID = "", "order"
		}
		return created, nil
	})
}

// read is a call that changes nothing, or the dice let it fail.
func read[T any](ctx context.Context, c calls, op string, do func() (T, error)) (T, error) {
	return effect(c.process, func() (T, error) {
		var none T
		d := c.w.dice(op)
		if err := wait(ctx, op, time.Duration(d.Int64N(int64(time.Second)))); err != nil {
			return none, err
		}
		if !c.w.isCalm() && d.Float64() < c.w.plan.Cloud/2 {
			class := []provision.Class{provision.ClassServer, provision.ClassLost, provision.ClassRate, provision.ClassNotSent, provision.ClassAuth}[d.IntN(5)]
			c.w.tally("read " + string(class))
			return none, refusal(op, class, "")
		}
		return do()
	})
}

func (c calls) ListInstances(ctx context.Context, projectID string, q provision.InstanceQuery) (provision.InstancePage, error) {
	return read(ctx, c, "list instances", func() (provision.InstancePage, error) {
		var page provision.InstancePage
		for _, m := range c.w.cloud.listed(projectID) {
			if (q.ID == "" || q.ID == m.id) && (q.Name == "" || q.Name == m.name) {
				if page.Total++; page.Total > q.Offset && (q.Limit == 0 || len(page.Instances) < q.Limit) {
					c.w.cloud.mu.Lock()
					page.Instances = append(page.Instances, m.view(c.w.plan.Tags))
					c.w.cloud.mu.Unlock()
				}
			}
		}
		if q.ID == "" && !c.w.isCalm() && c.w.dice("list moves").Float64() < c.w.plan.Cloud/5 {
			c.w.tally("list moves")
			page.Total++ // one that the page does not show
		}
		if q.ID != "" && page.Total == 0 {
			return page, refusal("list instances", provision.ClassGone, "DBS.280110")
		}
		return page, nil
	})
}

// job is the job that builds an instance; the cloud does not know it at once, and
// forgets some.
func (c calls) job(m *made) (provision.Job, bool) {
	j := provision.Job{ID: m.jobID, Name: "CreateMongoDB", InstanceID: m.id, Status: provision.JobRunning, Created: m.created}
	age := time.Since(m.created)
	switch {
	case age < 3*time.Second, len(m.id)%7 == 0 && age > time.Minute:
		return j, false
	case time.Now().Before(m.built):
		j.Progress = int(100 * age / m.built.Sub(m.created))
	case m.fails:
		j.Status, j.FailReason = provision.JobFailed, "Failed to create the DB instance."
	default:
		j.Status = provision.JobCompleted
	}
	return j, true
}

func (c calls) Job(ctx context.Context, projectID, jobID string) (provision.Job, error) {
	return read(ctx, c, "read job", func() (provision.Job, error) {
		for _, m := range c.w.cloud.listed(projectID) {
			if j, known := c.job(m); known && m.jobID == jobID {
				return j, nil
			}
		}
		return provision.Job{}, refusal("read job", provision.ClassGone, "DBS.280016")
	})
}

func (c calls) Jobs(ctx context.Context, projectID string, w provision.JobWindow) (provision.JobPage, error) {
	return read(ctx, c, "list jobs", func() (page provision.JobPage, _ error) {
		if !c.w.plan.JobList {
			return page, refusal("list jobs", provision.ClassNotOffered, "APIGW.0101")
		}
		seen := 0
		for _, m := range c.w.cloud.listed(projectID) {
			if j, known := c.job(m); known {
				if seen++; seen > w.Offset && len(page.Jobs) < w.Limit {
					page.Jobs = append(page.Jobs, j)
				}
			}
		}
		return page, nil
	})
}

// DeleteInstance begins a deletion, or not; its answer may be lost either way.
func (c calls) DeleteInstance(ctx context.Context, projectID, instanceID string) (string, string, error) {
	job, err := effect(c.process, func() (string, error) {
		const op = "delete instance"
		if ctx.Err() != nil {
			return "", refusal(op, provision.ClassNotSent, "")
		}
		d := c.w.dice(op)
		x := d.Float64()
		if c.w.isCalm() {
			x = 1
		}
		if x < c.w.plan.Cloud/2 {
			c.w.tally("delete refused")
			return "", refusal(op, []provision.Class{provision.ClassLost, provision.ClassBusy, provision.ClassRate, provision.ClassServer}[d.IntN(4)], "")
		}
		if !c.w.cloud.remove(projectID, instanceID, time.Duration(d.Int64N(int64(time.Minute)))) {
			return "", refusal(op, provision.ClassGone, "DBS.280110")
		}
		if x < c.w.plan.Cloud {
			c.w.tally("delete unanswered")
			return "", refusal(op, provision.ClassLost, "")
		}
		return fmt.Sprint("delete ", instanceID), wait(ctx, op, time.Second)
	})
	return job, "cr", err
}

func (c *cloud) remove(projectID, id string, took time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.made {
		if m.id != id || m.project != projectID || m.gone() {
			continue
		}
		if m.deleted.IsZero() {
			m.deleted = time.Now().Add(took)
			if !c.w.wished(m.request) {
				c.w.broken("instance %s of request %s, which nobody wished cancelled, is deleted", m.id, m.request)
			}
		}
		return true
	}
	return false
}

// cleanUp is somebody who deletes what failed of a request, once he has seen it.
func (c *cloud) cleanUp(request string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.made {
		if m.request == request && m.fails && m.deleted.IsZero() {
			m.deleted = time.Now().Add(time.Minute)
		}
	}
}
