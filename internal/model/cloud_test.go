package model

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"ddsworker/internal/provision"
)

// cloud is what the calls of all processes reach.
type cloud struct {
	w *world

	mu    sync.Mutex
	made  []*made
	calls []*call
}

// made is an instance.
type made struct {
	id, jobID, name, project string
	request, mark            string // whom it was made for
	created, visible, built  time.Time
	fails                    bool
	deleted                  time.Time // zero: nobody asked for it
	spec                     sent
}

// gone reports whether it is deleted by now.
func (m *made) gone() bool { return !m.deleted.IsZero() && !time.Now().Before(m.deleted) }

// call is one create call that left its process.
type call struct {
	sent
	at, deadline time.Time
	proven       bool // its answer proved that it did not run, and was heard
	executes     time.Time
	instance     *made
}

// sent is what a body says.
type sent struct {
	Name      string `json:"name"`
	Mode      string `json:"mode"`
	VPC       string `json:"vpc_id"`
	Subnet    string `json:"subnet_id"`
	Request   string `json:"security_group_id"` // tells requests apart for the test
	Datastore struct {
		Type    string `json:"type"`
		Version string `json:"version"`
	} `json:"datastore"`
	Tags []struct{ Key, Value string } `json:"tags"`
}

func (s sent) mark() string {
	for _, tag := range s.Tags {
		if tag.Key == provision.TagRequest {
			return tag.Value
		}
	}
	return ""
}

// mayRun reports whether the call has run, or still may.
func (c *call) mayRun() bool {
	return c.instance != nil && !c.instance.gone() || !c.executes.IsZero() && c.executes.After(time.Now())
}

// arrive notes a call that leaves, and asserts that no other may still work.
func (c *cloud) arrive(ctx context.Context, body []byte) *call {
	k := &call{at: time.Now(), deadline: deadlineOf(ctx)}
	if err := json.Unmarshal(body, &k.sent); err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, earlier := range c.calls {
		switch {
		case earlier.Request != k.Request:
		case earlier.mayRun():
			c.w.broken("twice: request %s is called again at %s, though the call of %s may work or has worked", k.Request, clock(k.at), clock(earlier.at))
		case !earlier.proven && earlier.deadline.After(k.at):
			c.w.broken("request %s is called again at %s, before the deadline of a call that may have run (%s)", k.Request, clock(k.at), clock(earlier.deadline))
		}
	}
	c.calls = append(c.calls, k)
	return k
}

// prove notes that the answer of a call was heard and proves that it did not run.
func (c *cloud) prove(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.proven = true
}

func deadlineOf(ctx context.Context) time.Time {
	end, ok := ctx.Deadline()
	if !ok {
		panic("a call without a deadline")
	}
	return end
}

// execute makes the call happen, now or after a while, and returns the instance if
// it is made at once; nil too if its name is taken.
func (c *cloud) execute(k *call, projectID string, d *rand.Rand, after time.Duration) *made {
	lag := time.Duration(d.Int64N(int64(c.w.plan.Lag) + 1))
	took := time.Second + time.Duration(d.Int64N(int64(2*time.Minute)))
	fails := d.Float64() < c.w.plan.JobFails
	n := d.Int64N(1 << 40)
	make := func() *made {
		c.mu.Lock()
		defer c.mu.Unlock()
		k.executes = time.Time{}
		now := time.Now()
		if !c.w.plan.Tags && slices.ContainsFunc(c.made, func(m *made) bool { return m.name == k.Name && m.project == projectID && !m.gone() }) {
			return nil
		}
		m := &made{id: fmt.Sprintf("i%d-%010x", len(c.made), n), jobID: fmt.Sprintf("j%d-%010x", len(c.made), n), name: k.Name, project: projectID,
			request: k.Request, mark: k.mark(), created: now, visible: now.Add(lag), built: now.Add(took), fails: fails, spec: k.sent}
		c.made = append(c.made, m)
		k.instance = m
		return m
	}
	if after == 0 {
		return make()
	}
	c.w.tally("executed late")
	c.mu.Lock()
	k.executes = time.Now().Add(after)
	c.mu.Unlock()
	time.AfterFunc(after, func() { make() })
	return nil
}

// view is the instance as it is listed now.
func (m *made) view(tags bool) provision.Instance {
	now := time.Now()
	i := provision.Instance{ID: m.id, Name: m.name, Status: provision.InstanceCreating, Actions: []string{"CREATE"}, Mode: m.spec.Mode,
		Datastore: m.spec.Datastore.Type, Version: m.spec.Datastore.Version, VPCID: m.spec.VPC, SubnetID: m.spec.Subnet,
		Created: m.created.UTC().Format("2006-01-02T15:04:05"), Detail: json.RawMessage("{}")}
	switch {
	case !now.Before(m.built) && m.fails:
		i.Status, i.Actions = provision.InstanceCreateFail, nil
	case !now.Before(m.built):
		i.Status, i.Actions = provision.InstanceNormal, nil
	}
	if !m.deleted.IsZero() {
		i.Actions = []string{provision.ActionDelete}
	}
	if tags {
		i.Tags = map[string]string{}
		for _, tag := range m.spec.Tags {
			i.Tags[tag.Key] = tag.Value
		}
	}
	return i
}

// listed are the instances of a project that a list shows, newest first.
func (c *cloud) listed(projectID string) (out []*made) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range slices.Backward(c.made) {
		if m.project == projectID && !m.gone() && !time.Now().Before(m.visible) {
			out = append(out, m)
		}
	}
	return out
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
