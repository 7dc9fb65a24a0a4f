package dds

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"ddsworker/internal/provision"
)

// jobTime is how the job list takes its window (§3.2); a plus is percent-encoded.
const jobTime = "2006-01-02T15:04:05-0700"

// Job reads one job (§3.1). ClassGone: it is not known, which in the first
// seconds of its life says nothing. ClassNotOffered: this cloud has no such call.
func (c *Client) Job(ctx context.Context, projectID, jobID string) (provision.Job, error) {
	a, err := c.do(ctx, request{
		op: opJob, method: http.MethodGet, version: "v3", project: projectID,
		resource: []string{"jobs"}, query: url.Values{"id": {jobID}}, limit: maxAnswer,
	})
	if err != nil {
		return provision.Job{}, err
	}
	var answered struct {
		Job listedJob `json:"job"`
	}
	if err := a.decode(&answered); err != nil {
		return provision.Job{}, err
	}
	job, ok := answered.Job.job(a.secrets)
	if !ok || job.Status == "" {
		return provision.Job{}, a.unreadable("an answer without the job's id or status")
	}
	return job, nil
}

// Jobs reads a page of the jobs of a window of at most 30 days, newest first
// (§3.2). ClassNotOffered: only Huawei's own cloud has this list.
func (c *Client) Jobs(ctx context.Context, projectID string, w provision.JobWindow) (provision.JobPage, error) {
	query := url.Values{"start_time": {w.From.UTC().Format(jobTime)}, "end_time": {w.To.UTC().Format(jobTime)}}
	if w.Name != "" {
		query.Set("name", w.Name)
	}
	if w.Status != "" {
		query.Set("status", w.Status)
	}
	pageQuery(query, w.Offset, w.Limit)
	a, err := c.do(ctx, request{
		op: opJobs, method: http.MethodGet, version: "v3.1", project: projectID,
		resource: []string{"jobs"}, query: query, limit: maxPage,
	})
	if err != nil {
		return provision.JobPage{}, err
	}
	var listed struct {
		Jobs []json.RawMessage `json:"jobs"`
	}
	if err := a.decode(&listed); err != nil {
		return provision.JobPage{}, err
	}
	if listed.Jobs == nil {
		return provision.JobPage{}, a.unreadable("a list without its jobs")
	}
	page := provision.JobPage{Jobs: make([]provision.Job, len(listed.Jobs))}
	for i, item := range listed.Jobs {
		// A bad item stays in its place, empty: a page that is too short is the last.
		var l listedJob
		if json.Unmarshal(item, &l) == nil {
			page.Jobs[i], _ = l.job(a.secrets)
		}
	}
	return page, nil
}

// listedJob has the fields of both calls; the list names some differently.
type listedJob struct {
	ID       text `json:"id"`
	Name     text `json:"name"`
	Status   text `json:"status"`
	Progress text `json:"progress"`
	Reason   text `json:"fail_reason"`

	Created  text `json:"created"`
	Ended    text `json:"ended"`
	Instance object[struct {
		ID text `json:"id"`
	}] `json:"instance"`

	CreatedAt  text `json:"created_at"`
	EndedAt    text `json:"ended_at"`
	InstanceID text `json:"instance_id"`
}

// job returns what is kept of a job; false if it has no id, or one that is none.
func (l listedJob) job(s secrets) (provision.Job, bool) {
	id, ok := s.id(l.ID)
	instanceID, instanceOK := s.id(cmp.Or(l.InstanceID, l.Instance.value.ID))
	if id == "" || !ok || !instanceOK {
		return provision.Job{}, false
	}
	j := provision.Job{
		ID: id, Name: s.text(l.Name), InstanceID: instanceID, Status: s.words(l.Status), FailReason: s.words(l.Reason),
		Created: cmp.Or(l.Created, l.CreatedAt).instant(), Ended: cmp.Or(l.Ended, l.EndedAt).instant(),
	}
	if progress, ok := l.Progress.number(); ok {
		j.Progress = min(max(progress, 0), 100)
	}
	return j, true
}
