package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
)

// failingJob is a job that fails for a reason which repeats the create call.
type failingJob struct {
	reason string
	listed bool
}

// jobFails lets a create call happen, and its job be listed as one that failed.
func jobFails(write func(*intercepted) string) fate {
	return func(w http.ResponseWriter, c *intercepted) {
		answer := c.execute()
		var created struct {
			Job string `json:"job_id"`
		}
		if err := json.Unmarshal(answer.Body.Bytes(), &created); err != nil || created.Job == "" {
			panic("a create call without a job: " + answer.Body.String())
		}
		c.gateway.mu.Lock()
		c.gateway.failing[created.Job] = &failingJob{reason: "The request " + write(c) + " failed."}
		c.gateway.mu.Unlock()
		pass(w, answer)
	}
}

// withBeginning shows the beginning of a token, as some services do, and does not
// say what it is.
func withBeginning(c *intercepted) string { return "with " + c.token[:40] }

// failJobs makes the failing jobs of a list fail.
func (g *gateway) failJobs(r *http.Request, answer *httptest.ResponseRecorder) {
	if !strings.HasSuffix(r.URL.Path, "/jobs") || answer.Code != http.StatusOK {
		return
	}
	var list struct {
		Jobs []map[string]any `json:"jobs"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &list); err != nil {
		panic(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, job := range list.Jobs {
		id, _ := job["id"].(string)
		if failing := g.failing[id]; failing != nil {
			job["status"], job["fail_reason"], failing.listed = "Failed", failing.reason, true
		}
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	answer.Body = bytes.NewBuffer(text)
}
