package ddsfake

import (
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// admin calls a path that needs no token.
func (c *caller) admin(method, path, body string) gotAnswer {
	token := c.token
	c.token = ""
	defer func() { c.token = token }()
	return c.send(method, path, body)
}

func TestAdminStats(t *testing.T) {
	c := newCaller(t, Config{Throttle: 3, ThrottlePer: time.Hour})
	c.create(replica(3))
	c.send("POST", c.path("/instances"), "{}").want(400, "DBS.280234")
	c.send("POST", "/v3/auth/tokens", loginRequest("wrong", projectScope()))
	c.script(OpCreate, Answer{Kind: BusyAfter})
	c.send("POST", c.path("/instances"), replica(3)).want(400, "DBS.200998")
	c.send("GET", c.path("/instances"), nil).want(429, "APIGW.0308")
	var s Stats
	a := c.admin("GET", "/__stats", "")
	if err := json.Unmarshal([]byte(a.text), &s); err != nil || a.status != 200 {
		t.Fatal(a.status, err)
	}
	equal(t, "calls", s.Calls, map[Op]int{OpCreate: 3, OpList: 1, OpLogin: 2})
	equal(t, "statuses", s.Statuses, map[string]int{"201": 1, "202": 1, "400": 2, "401": 1, "429": 1})
	equal(t, "statuses of create", s.StatusesByOp[OpCreate], map[string]int{"202": 1, "400": 2})
	equal(t, "codes", s.Codes, map[string]int{"APIGW.0308": 1, "DBS.200998": 1, "DBS.280234": 1, "IAM.0062": 1})
	equal(t, "logins, failures, tokens", []int{s.Logins, s.LoginFailures, s.TokensIssued}, []int{2, 1, 1})
	equal(t, "creates received, executed", []int{s.CreatesReceived, s.CreatesExecuted}, []int{3, 2})
	equal(t, "throttled", s.Throttled, 1)
	equal(t, "faults", s.Faults, map[Kind]int{BusyAfter: 1})
}

func TestStatsOfConcurrencyAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{CreateLatency: time.Minute})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { c.create(replica(3)) })
		}
		synctest.Wait()
		equal(t, "concurrent", c.cloud.Stats().Concurrent, 4)
		wg.Wait()
		for range 3 {
			c.list("")
		}
		s := c.cloud.Stats()
		equal(t, "concurrent", s.Concurrent, 0)
		equal(t, "peak", s.PeakConcurrent, 4)
		equal(t, "peak of create", s.PeakByOp[OpCreate], 4)
		equal(t, "most in a second", s.MaxPerSecond, 5) // the login and four creates
		equal(t, "most lists in a second", s.MaxPerSecondOp[OpList], 3)
	})
}

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{Throttle: 2, ThrottlePer: time.Minute})
		c.list("")
		c.list("")
		a := c.send("GET", c.path("/instances"), nil)
		a.want(429, "APIGW.0308")
		equal(t, "message", a.object()["error_msg"],
			"The throttling threshold has been reached: policy user over ratelimit,limit:2,time:1 minute")
		c.login() // IAM is not behind it
		sleep(time.Minute)
		c.list("")
	})
}

func TestThrottleOfOneProjectAndOfTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{Projects: map[string]string{DefaultProjectID: DefaultProjectName, "other": "b"},
			ThrottleProjects: map[string]int{"other": 1}, ThrottleAccount: 4})
		other := &caller{t: t, cloud: c.cloud, project: "other"}
		other.token = c.send("POST", "/v3/auth/tokens", loginRequest(DefaultPassword, object{"project": object{"id": "other"}})).header.Get("X-Subject-Token")
		other.list("")
		other.send("GET", other.path("/instances"), nil).want(429, "APIGW.0308")
		c.list("")
		c.list("")
		c.send("GET", c.path("/instances"), nil).want(429, "APIGW.0308") // the refused call counts
		sleep(time.Second)
		c.list("")
		other.list("")
		equal(t, "calls in any second", c.cloud.Stats().MaxInAnySecond, 5)
		sleep(500 * time.Millisecond)
		c.list("")
		sleep(500 * time.Millisecond)
		c.list("")
		equal(t, "calls in any second", c.cloud.Stats().MaxInAnySecond, 5)
	})
}

func TestAdminInstances(t *testing.T) {
	c := newCaller(t, Config{})
	id, job := c.create(replica(3).with(object{"tags": []object{{"key": "k", "value": "v"}}}))
	a := c.admin("GET", "/__instances", "")
	var all []Instance
	if err := json.Unmarshal([]byte(a.text), &all); err != nil || len(all) != 1 {
		t.Fatalf("%s: %v", a.text, err)
	}
	i := all[0]
	equal(t, "instance", []string{i.ID, i.Name, i.Project, i.Status, i.JobID, i.JobStatus, i.Mode},
		[]string{id, "test-replica", DefaultProjectID, "creating", job, "Running", "ReplicaSet"})
	equal(t, "tags", i.Tags, []Tag{{"k", "v"}})
	if since := time.Since(i.Created); since < 0 || since > time.Minute || i.DeletedAt != nil {
		t.Errorf("created %v ago, deleted at %v", since, i.DeletedAt)
	}
	empty := &caller{t: t, cloud: New(Config{})}
	equal(t, "no instances", empty.admin("GET", "/__instances", "").text, "[]")
}

func TestAdminRevoke(t *testing.T) {
	c := newCaller(t, Config{})
	equal(t, "answer", c.admin("POST", "/__revoke?variant=dds", "").text, `{"revoked":1}`)
	c.send("GET", c.path("/instances"), nil).want(401, "DBS.280056")
	c.login()
	equal(t, "answer", c.admin("POST", "/__revoke", "").text, `{"revoked":1}`)
	c.send("GET", c.path("/instances"), nil).want(401, "APIGW.0307")
	equal(t, "unknown variant", c.admin("POST", "/__revoke?variant=x", "").status, 400)
}

func TestAdminFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{})
		a := c.admin("POST", "/__faults", `{"chances":{"list":{"429-service":1}},
			"scripts":{"create":[{"kind":"504-after","late":"10s","delay":"1.5s"},{"code":"DBS.280005","header":{"Retry-After":"3"}}]}}`)
		equal(t, "answer", a.text, `{"waiting":{"create":2}}`)
		c.send("GET", c.path("/instances"), nil).want(429, "DBS.280443")
		started := time.Now()
		c.send("POST", c.path("/instances"), replica(3)).want(504, "APIGW.0201")
		equal(t, "took", time.Since(started), 1500*time.Millisecond)
		equal(t, "created", c.cloud.Instances()[0].Created.Sub(started.UTC()), 10*time.Second)
		b := c.send("POST", c.path("/instances"), replica(3))
		b.want(500, "DBS.280005")
		equal(t, "Retry-After", b.header.Get("Retry-After"), "3")
		c.admin("POST", "/__faults", `{"chances":{},"scripts":{"list":[{"kind":"forbidden"}]}}`)
		equal(t, "answer", c.admin("POST", "/__faults", `{"clear":true}`).text, `{"waiting":{}}`)
		c.list("")
		for _, body := range []string{"", "{", `{"chance":{}}`, `{"chances":{"create":{"x":1}}}`, `{"scripts":{"x":[]}}`,
			`{"scripts":{"create":[{"kind":"x"}]}}`, `{"scripts":{"create":[{"delay":"long"}]}}`} {
			equal(t, body, c.admin("POST", "/__faults", body).status, 400)
		}
	})
}

func TestAdminHealth(t *testing.T) {
	c := newCaller(t, Config{})
	for _, method := range []string{"GET", "POST"} {
		equal(t, method, c.admin(method, "/__health", "").status, 200)
	}
	equal(t, "unknown path", c.admin("GET", "/__x", "").status, 404)
	equal(t, "counted calls", c.cloud.Stats().Calls, map[Op]int{OpLogin: 1})
}

// Whatever the cloud answers, shows or logs, no password is in it, and a token only in the login's header.
func TestNoSecretIsShown(t *testing.T) {
	var log strings.Builder
	c := newCaller(t, Config{JobMin: time.Nanosecond, JobLag: -1, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	const password = "Secret@1234"
	var shown []string
	keep := func(a gotAnswer) { shown = append(shown, a.text) }
	a := c.send("POST", c.path("/instances"), replica(3).with(object{"password": password}))
	keep(a)
	keep(c.send("POST", c.path("/instances"), replica(2).with(object{"password": password})))
	keep(c.send("POST", c.path("/instances"), `{"name":7,"password":"`+password+`"}`))
	keep(c.send("GET", c.path("/instances"), nil))
	keep(c.send("GET", c.path("/jobs?id="+a.object()["job_id"].(string)), nil))
	keep(c.jobs(time.Now().Add(-time.Hour), time.Now().Add(time.Hour), ""))
	keep(c.send("POST", "/v3/auth/tokens", loginRequest(DefaultPassword, projectScope())))
	keep(c.send("POST", "/v3/auth/tokens", loginRequest(password, projectScope())))
	keep(c.admin("GET", "/__stats", ""))
	keep(c.admin("GET", "/__instances", ""))
	all := strings.Join(append(shown, log.String()), "\n")
	if !strings.Contains(all, "op=create") {
		t.Error("the log does not name the calls")
	}
	for _, secret := range []string{password, DefaultPassword, c.token} {
		if strings.Contains(all, secret) {
			t.Errorf("%.12q… is shown", secret)
		}
	}
}
