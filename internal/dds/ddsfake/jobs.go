package ddsfake

import (
	"fmt"
	"net/http"
	"slices"
	"sort"
	"time"
)

// jobTime has an offset without a colon, dds-api.md §3.1.
const jobTime = "2006-01-02T15:04:05-0700"

const maxJobSpan = 30 * 24 * time.Hour

// The statuses of a job.
const (
	jobRunning   = "Running"
	jobCompleted = "Completed"
	jobFailed    = "Failed"
)

const failReason = "Failed to create the DB instance."

// job is one task of the cloud; what it shows follows from the time.
type job struct {
	id       string
	name     string // in the query of one job
	listName string // in the list; "" is not listed
	instance *instance
	created  time.Time
	known    time.Time // unknown to every query before
	ends     time.Time
	fails    bool
}

// buildNames are the two names of a creation, dds-api.md §3.
func buildNames(mode string) (name, listName string) {
	switch mode {
	case replicaSet:
		return "Create_MongoDB_Replica", "CreateMongoDBReplica"
	case single:
		return "Create_MongoDB_Replica_Single", "CreateMongoDBReplicaSingle"
	}
	return "Create_MongoDB", "CreateMongoDB"
}

func (j *job) running(now time.Time) bool { return now.Before(j.ends) }

// share of the job's time that has passed, 0 to 1.
func (j *job) share(now time.Time) float64 {
	if !j.running(now) {
		return 1
	}
	return max(0, float64(now.Sub(j.created))/float64(j.ends.Sub(j.created)))
}

func (j *job) status(now time.Time) string {
	switch {
	case j.running(now):
		return jobRunning
	case j.fails:
		return jobFailed
	}
	return jobCompleted
}

// progress is shown only while the job runs.
func (j *job) progress(now time.Time) string {
	if !j.running(now) {
		return ""
	}
	return fmt.Sprintf("%d%%", min(99, int(100*j.share(now))))
}

func (j *job) reason(now time.Time) string {
	if j.fails && !j.running(now) {
		return failReason
	}
	return ""
}

// shown says whether queries know the job: not at once, and not for ever.
func (c *Cloud) shown(j *job, now time.Time) bool {
	return j != nil && !now.Before(j.known) && now.Sub(j.created) < c.scaled(c.cfg.JobRetention)
}

// job is GET /v3/{project_id}/jobs?id=, dds-api.md §3.1.
func (c *Cloud) job(k *call) reply {
	id, _ := k.param("id")
	if !uuidForm.MatchString(id) {
		return c.fail(k, "DBS.280001")
	}
	now := c.now()
	p := c.projects[k.route.project]
	p.mu.RLock()
	defer p.mu.RUnlock()
	j := p.byTask[id]
	if !c.shown(j, now) {
		return c.fail(k, "DBS.280016")
	}
	// A running job's end is a guess that has nothing to do with its end, as in the documented sample.
	ended := j.created.Add(10 * time.Second)
	if !j.running(now) {
		ended = j.ends
	}
	var answer struct {
		Job struct {
			ID       string  `json:"id"`
			Name     string  `json:"name"`
			Status   string  `json:"status"`
			Created  string  `json:"created"`
			Ended    string  `json:"ended"`
			Progress string  `json:"progress"`
			Instance idName  `json:"instance"`
			Reason   *string `json:"fail_reason"`
		} `json:"job"`
	}
	v := &answer.Job
	v.ID, v.Name, v.Status, v.Progress = j.id, j.name, j.status(now), j.progress(now)
	v.Created, v.Ended = j.created.UTC().Format(jobTime), ended.UTC().Format(jobTime)
	v.Instance = idName{j.instance.id, j.instance.body.Name}
	if reason := j.reason(now); reason != "" || !c.dialect.nullReason {
		v.Reason = &reason
	}
	return jsonReply(http.StatusOK, answer)
}

type listedJob struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	InstanceID   string `json:"instance_id"`
	InstanceName string `json:"instance_name"`
	Status       string `json:"status"`
	Progress     string `json:"progress"`
	Reason       string `json:"fail_reason"`
	CreatedAt    string `json:"created_at"`
	EndedAt      string `json:"ended_at"`
}

// jobs is GET /v3.1/{project_id}/jobs, dds-api.md §3.2: newest first and without a total.
func (c *Cloud) jobs(k *call) reply {
	limit, offset, code := k.page()
	if code != "" {
		return c.fail(k, code)
	}
	from, to, code := k.span()
	if code != "" {
		return c.fail(k, code)
	}
	status, _ := k.param("status")
	if status != "" && !slices.Contains([]string{jobRunning, jobCompleted, jobFailed}, status) {
		return c.fail(k, "DBS.280001")
	}
	name, _ := k.param("name")
	id, _ := k.param("id")
	now := c.now()
	p := c.projects[k.route.project]
	p.mu.RLock()
	defer p.mu.RUnlock()
	first := sort.Search(len(p.tasks), func(n int) bool { return !p.tasks[n].created.Before(from) })
	page := []listedJob{}
	for _, j := range slices.Backward(p.tasks[first:]) {
		if len(page) == limit {
			break
		}
		if !c.shown(j, now) || j.created.After(to) || j.listName == "" || name != "" && name != j.listName ||
			status != "" && status != j.status(now) || id != "" && id != j.id {
			continue
		}
		if offset > 0 {
			offset--
			continue
		}
		page = append(page, j.listed(now))
	}
	return jsonReply(http.StatusOK, map[string][]listedJob{"jobs": page})
}

func (j *job) listed(now time.Time) listedJob {
	v := listedJob{
		ID: j.id, Name: j.listName, InstanceID: j.instance.id, InstanceName: j.instance.body.Name,
		Status: j.status(now), Progress: j.progress(now), Reason: j.reason(now), CreatedAt: j.created.UTC().Format(jobTime),
	}
	if !j.running(now) {
		v.EndedAt = j.ends.UTC().Format(jobTime)
	}
	return v
}

// span reads start_time and end_time. A plus that was not percent-encoded arrives as a space and is refused.
func (k *call) span() (from, to time.Time, code string) {
	start, _ := k.param("start_time")
	end, _ := k.param("end_time")
	from, err := time.Parse(jobTime, start)
	if err != nil {
		return from, to, "DBS.280067"
	}
	to, err = time.Parse(jobTime, end)
	if err != nil || !to.After(from) {
		return from, to, "DBS.280068"
	}
	if to.Sub(from) > maxJobSpan {
		return from, to, "DBS.280001"
	}
	return from, to, ""
}
