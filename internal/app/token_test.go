package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"ddsworker/internal/app"
	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

func TestEachProjectHasItsToken(t *testing.T) {
	s := newSystem(t, ddsfake.Config{Projects: map[string]string{ddsfake.DefaultProjectID: "a", "second-project": "b"},
		JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	s.start(map[string]string{"DDS_PROJECTS": " second-project,, " + ddsfake.DefaultProjectID})
	s.publish(single("in-the-first"))
	other := nats.NewMsg("dds.requests")
	other.Header.Set("Dds-Project-Id", "second-project")
	other.Data = single("in-the-second")
	if _, err := s.js.PublishMsg(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	s.wantState(provision.Ready, 2)
	if got := s.value(`select string_agg(name || ' ' || project_id, ', ' order by name) from provisioning_history`); got !=
		"in-the-first "+ddsfake.DefaultProjectID+", in-the-second second-project" {
		t.Errorf("they are in: %s", got)
	}
	if n := s.cloud.Stats().Logins; n != 2 || s.count(`select count(*) from tokens`) != 2 {
		t.Errorf("%d logins for two projects", n)
	}
}

func TestProjectsAreChecked(t *testing.T) {
	t.Setenv("OS_PASSWORD", "p")
	c := app.Config{Cloud: app.CloudConfig{ProjectID: "own project", Projects: "good_1,a/b, " + strings.Repeat("x", 65)}}
	err := c.Load()
	if err == nil {
		t.Fatal("no problem")
	}
	for _, want := range []string{`OS_PROJECT_ID: given "own project"`, `DDS_PROJECTS: given "a/b"`, `DDS_PROJECTS: given "xxx`, "1 to 64 letters"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the message lacks %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "good_1") {
		t.Errorf("a good id is refused:\n%v", err)
	}
}

// A wrong password is told on /readyz and by the requests that wait; they go on
// once a worker has the right one, and so does the worker with the wrong one.
func TestWrongPasswordIsToldAndHeals(t *testing.T) {
	s := newSystem(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	wrong := s.start(map[string]string{"OS_PASSWORD": "Wrong-Passw0rd", "WORKER_NAME": "wrong"})
	s.publish(single("waits"))
	s.eventually("the problem on /readyz", func() bool { return strings.Contains(problems(t, wrong)["login"], "IAM.0062") })
	s.eventually("a request that says why it waits", func() bool {
		return s.count(`select count(*) from provisioning_history where state = 'pending' and error_message like '%IAM.0062%'`) == 1
	})
	s.start(map[string]string{"WORKER_NAME": "right"})
	s.wantState(provision.Ready, 1)
	s.eventually("the end of the problem", func() bool { _, is := problems(t, wrong)["login"]; return !is })
	if n := s.cloud.Stats().Logins; n != 2 {
		t.Errorf("%d logins, want the wrong one and the right one", n)
	}
	if text := s.everything() + s.log.String(); strings.Contains(text, "Wrong-Passw0rd") {
		t.Error("the wrong password was kept")
	}
}

// problems are what /readyz names, by part.
func problems(t *testing.T, w *worker) map[string]string {
	t.Helper()
	answer, err := http.Get("http://" + w.Addr + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body struct{ Problems []provision.Problem }
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, p := range body.Problems {
		out[p.Part] = p.Error
	}
	return out
}
