package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
)

// failingJob is a job that fails for a reason which repeats the create call.
type failingJob struct {
	instance string
	reason   string
	listed   bool
}

// jobFails lets a create call happen, and its job be listed as one that failed.
func jobFails(write func(*intercepted) string) fate {
	return func(w http.ResponseWriter, c *intercepted) {
		answer := c.execute()
		var created struct {
			ID  string `json:"id"`
			Job string `json:"job_id"`
		}
		if err := json.Unmarshal(answer.Body.Bytes(), &created); err != nil || created.Job == "" {
			panic("a create call without a job: " + answer.Body.String())
		}
		c.gateway.mu.Lock()
		c.gateway.failing[created.Job] = &failingJob{instance: created.ID, reason: "The request " + write(c) + " failed."}
		c.gateway.mu.Unlock()
		pass(w, answer)
	}
}

// withBeginning shows the beginning of a token, as some services do, and does not
// say what it is.
func withBeginning(c *intercepted) string { return "with " + c.token[:40] }

// failJobs makes the failing jobs fail wherever they are shown, and the instances that
// they build.
func (g *gateway) failJobs(r *http.Request, answer *httptest.ResponseRecorder) {
	if r.Method != http.MethodGet || answer.Code != http.StatusOK {
		return
	}
	var shown map[string]any
	if err := json.Unmarshal(answer.Body.Bytes(), &shown); err != nil {
		panic(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	jobs, _ := shown["jobs"].([]any)
	for _, one := range append(jobs, shown["job"]) {
		job, _ := one.(map[string]any)
		id, _ := job["id"].(string)
		if failing := g.failing[id]; failing != nil {
			job["status"], job["fail_reason"], failing.listed = "Failed", failing.reason, true
		}
	}
	instances, _ := shown["instances"].([]any)
	for _, one := range instances {
		instance, _ := one.(map[string]any)
		for _, failing := range g.failing {
			if failing.instance == instance["id"] {
				instance["status"], instance["actions"] = "createfail", []any{}
			}
		}
	}
	text, err := json.Marshal(shown)
	if err != nil {
		panic(err)
	}
	answer.Body = bytes.NewBuffer(text)
}
