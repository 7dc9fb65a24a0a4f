package ddsfake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

func isAdmin(path string) bool { return strings.HasPrefix(path, "/__") }

// Instance is what the tester sees of an instance, whether a caller could see it or not.
type Instance struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Project   string     `json:"project"`
	Mode      string     `json:"mode"`
	Status    string     `json:"status"` // as in the list, or "deleted"
	Actions   []string   `json:"actions"`
	Tags      []Tag      `json:"tags"`
	Created   time.Time  `json:"created"`
	JobID     string     `json:"job_id"`
	JobStatus string     `json:"job_status"`
	JobEnds   time.Time  `json:"job_ends"` // its true end, known from the beginning
	OrderID   string     `json:"order_id,omitempty"`
	Unpaid    bool       `json:"unpaid,omitempty"`
	DeletedAt *time.Time `json:"deleted_at,omitempty"` // when the deletion was asked for
}

// Instances returns everything that was ever created, oldest first within each project, projects in the order of their ids.
func (c *Cloud) Instances() []Instance {
	now := c.now()
	all := []Instance{}
	for _, p := range c.projects {
		p.mu.RLock()
		for _, i := range slices.Concat(p.buried, p.all) {
			all = append(all, i.view(p.id, now))
		}
		p.mu.RUnlock()
	}
	slices.SortStableFunc(all, func(a, b Instance) int {
		if byProject := strings.Compare(a.Project, b.Project); byProject != 0 {
			return byProject
		}
		return a.Created.Compare(b.Created)
	})
	return all
}

func (i *instance) view(project string, now time.Time) Instance {
	s := i.state(now)
	v := Instance{
		ID: i.id, Name: i.body.Name, Project: project, Mode: i.body.Mode, Status: s.status, Actions: s.actions,
		Tags: append([]Tag{}, i.body.Tags...), Created: i.created.UTC(), JobID: i.build.id, JobStatus: i.build.status(now),
		JobEnds: i.build.ends.UTC(), OrderID: i.orderID, Unpaid: i.unpaid,
	}
	if i.removal != nil {
		at := i.removal.created.UTC()
		v.DeletedAt = &at
	}
	return v
}

// serveAdmin answers the tester. These paths need no token.
func (c *Cloud) serveAdmin(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /__health", "POST /__health":
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	case "GET /__stats":
		writeJSON(w, http.StatusOK, c.Stats())
	case "GET /__instances":
		writeJSON(w, http.StatusOK, c.Instances())
	case "POST /__revoke":
		c.serveRevoke(w, r)
	case "POST /__faults":
		c.serveFaults(w, r)
	default:
		adminError(w, http.StatusNotFound, fmt.Errorf("there is no %s %s", r.Method, r.URL.Path))
	}
}

func (c *Cloud) serveRevoke(w http.ResponseWriter, r *http.Request) {
	variant := RevokeVariant(r.URL.Query().Get("variant"))
	setDefault(&variant, RevokeGateway)
	if variant != RevokeGateway && variant != RevokeService {
		adminError(w, http.StatusBadRequest, fmt.Errorf("variant %q is neither %s nor %s", variant, RevokeGateway, RevokeService))
		return
	}
	writeJSON(w, http.StatusOK, map[string]int{"revoked": c.RevokeTokens(variant)})
}

// faultsBody is the body of POST /__faults. Durations are Go's, such as "1.5s".
type faultsBody struct {
	Chances Faults                  `json:"chances"` // replaces all chances, if given
	Scripts map[Op][]scriptedAnswer `json:"scripts"` // queued behind those that wait
	Clear   bool                    `json:"clear"`   // first drop the scripts that wait
}

type scriptedAnswer struct {
	Kind     Kind              `json:"kind"`
	Status   int               `json:"status"`
	Code     string            `json:"code"`
	Message  string            `json:"message"`
	Header   map[string]string `json:"header"`
	Body     string            `json:"body"`
	Executed bool              `json:"executed"`
	Late     duration          `json:"late"`
	ListLag  duration          `json:"list_lag"`
	Delay    duration          `json:"delay"`
	JobFails bool              `json:"job_fails"`
}

type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = duration(v)
	return err
}

func (c *Cloud) serveFaults(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		adminError(w, http.StatusBadRequest, err)
		return
	}
	var body faultsBody
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil {
		adminError(w, http.StatusBadRequest, err)
		return
	}
	if body.Clear {
		c.ClearScripts()
	}
	if body.Chances != nil {
		if err := c.SetFaults(body.Chances); err != nil {
			adminError(w, http.StatusBadRequest, err)
			return
		}
	}
	for op, script := range body.Scripts {
		answers := make([]Answer, len(script))
		for n, a := range script {
			answers[n] = Answer{Kind: a.Kind, Status: a.Status, Code: a.Code, Message: a.Message, Header: a.Header, Body: a.Body,
				Executed: a.Executed, Late: time.Duration(a.Late), ListLag: time.Duration(a.ListLag),
				Delay: time.Duration(a.Delay), JobFails: a.JobFails}
		}
		if err := c.Script(op, answers...); err != nil {
			adminError(w, http.StatusBadRequest, err)
			return
		}
	}
	waiting := map[Op]int{}
	for _, op := range FaultOps() {
		if n := c.Waiting(op); n > 0 {
			waiting[op] = n
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"waiting": waiting})
}

func adminError(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]string{"error": err.Error()})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	r := jsonReply(status, v)
	w.Header().Set("Content-Type", r.header["Content-Type"])
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // the caller may have gone; there is nobody to tell
}
