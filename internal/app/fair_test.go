package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ddsworker/internal/dds/ddsfake"
)

// twoProjects is a cloud with the worker's own project and another one.
func twoProjects() ddsfake.Config {
	return ddsfake.Config{JobMin: 3 * time.Second, JobLag: -1, SettleLag: -1, CreateLatency: 20 * time.Millisecond,
		Projects: map[string]string{ddsfake.DefaultProjectID: ddsfake.DefaultProjectName, otherProject: "other"}}
}

// startsSoon publishes single requests of the other project, one after the other,
// and fails if they usually take more than a second to reach the cloud.
func (s *system) startsSoon() {
	s.t.Helper()
	var took []time.Duration
	for n := range 5 {
		name, began := fmt.Sprintf("alone-%d", n), time.Now()
		s.publishFor(otherProject, name)
		s.eventually("the create of "+name, func() bool {
			for _, i := range s.cloud.Instances() {
				if i.Name == name && i.Project == otherProject {
					took = append(took, i.Created.Sub(began))
					return true
				}
			}
			return false
		})
	}
	slices.Sort(took)
	s.t.Logf("single requests of another project reach the cloud after %v", took)
	if took[len(took)/2] > time.Second {
		s.t.Errorf("after %v, want less than a second", took)
	}
}

func TestAThrottledProjectDoesNotHoldUpAnother(t *testing.T) {
	cloud := twoProjects()
	cloud.ThrottleProjects = map[string]int{ddsfake.DefaultProjectID: 1}
	s := newSystem(t, cloud)
	s.backlog(ddsfake.DefaultProjectID, 10_000)
	s.backlog(otherProject, 0)
	s.fleet(2, map[string]string{"DDS_PROJECTS": otherProject, "RETRY_MIN": "500ms", "RETRY_MAX": "5s"})
	s.eventually("calls of the throttled project", func() bool { return s.cloud.Stats().Throttled > 0 })
	s.startsSoon() // while its rate is being found
	s.eventually("the rate", func() bool {
		return s.count(`select count(*) from budgets where scope = 'project:'||$1 and learnt_rate < 3`, ddsfake.DefaultProjectID) == 1
	})
	w := s.watch(5 * time.Second)
	t.Logf("%d calls in 5 s, %d throttled", w.calls(), w.Throttled)
	if w.Throttled > 15 {
		t.Errorf("%d calls refused in 5 s of a project that allows 1 a second", w.Throttled)
	}
	if !strings.Contains(s.log.String(), "throttles a project") {
		t.Error("the log does not say that the cloud throttles a project")
	}
}

func TestABacklogDoesNotHoldUpAnotherProject(t *testing.T) {
	s := newSystem(t, twoProjects())
	s.backlog(ddsfake.DefaultProjectID, 100_000)
	s.backlog(otherProject, 0)
	s.fleet(2, map[string]string{"DDS_PROJECTS": otherProject})
	s.eventually("calls of the project with the backlog", func() bool { return s.cloud.Stats().CreatesReceived > 100 })
	s.startsSoon()
}

// Calls that hang until their time limit take all places for calls, and the other
// project's requests begin all the same.
func TestHangingCallsDoNotHoldUpAnotherProject(t *testing.T) {
	s := newSystem(t, twoProjects())
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.Contains(r.URL.Path, ddsfake.DefaultProjectID+"/instances") {
			_, _ = io.Copy(io.Discard, r.Body) // or nobody notices that the caller is gone
			<-r.Context().Done()
			return
		}
		s.cloud.ServeHTTP(w, r)
	}))
	t.Cleanup(gateway.Close)
	s.backlog(ddsfake.DefaultProjectID, 100)
	s.backlog(otherProject, 0)
	s.start(map[string]string{"DDS_PROJECTS": otherProject, "DDS_ENDPOINT": gateway.URL, "CREATE_CONCURRENCY": "4", "CALL_TIMEOUT": "1m", "GRACE": "100ms"})
	s.eventually("4 calls that hang", func() bool { return s.count(`select count(*) from requests where state = 'creating'`) == 4 })
	s.startsSoon()
	if n := s.count(`select count(*) from requests where state = 'creating' and project_id = $1`, ddsfake.DefaultProjectID); n != 4 {
		t.Errorf("%d calls of the project that hangs, want 4 all the time", n)
	}
}

// Where tags are not proved yet a request looks before its call, and looks that hang
// take all places for looks: the other project's requests begin all the same.
func TestHangingLooksDoNotHoldUpAnotherProject(t *testing.T) {
	s := newSystem(t, twoProjects())
	var hanging atomic.Int32
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, ddsfake.DefaultProjectID+"/instances") {
			hanging.Add(1)
			<-r.Context().Done()
			return
		}
		s.cloud.ServeHTTP(w, r)
	}))
	t.Cleanup(gateway.Close)
	s.backlog(ddsfake.DefaultProjectID, 100)
	if _, err := s.db.Exec(t.Context(), `update requests set look_first = true`); err != nil {
		t.Fatal(err)
	}
	s.start(map[string]string{"DDS_PROJECTS": otherProject, "DDS_ENDPOINT": gateway.URL, "LOOK_CONCURRENCY": "4", "CALL_TIMEOUT": "1m", "GRACE": "100ms"})
	s.eventually("4 looks that hang", func() bool { return hanging.Load() >= 4 })
	s.startsSoon()
}
