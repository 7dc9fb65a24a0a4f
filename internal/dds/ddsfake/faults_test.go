package ddsfake

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFaultsWithAnAnswer(t *testing.T) {
	for _, tc := range []struct {
		kind     Kind
		status   int
		code     string
		executed bool
	}{
		{TimeoutBefore, 504, "APIGW.0201", false}, {TimeoutAfter, 504, "APIGW.0201", true},
		{BusyBefore, 400, "DBS.200998", false}, {BusyAfter, 400, "DBS.200998", true},
		{ServerErrorBefore, 500, "DBS.280005", false}, {ServerErrorAfter, 500, "DBS.280005", true},
		{TooMany, 429, "DBS.280443", false}, {Throttled, 429, "APIGW.0308", false},
		{StateConflict, 403, "DBS.201014", false}, {Forbidden, 403, "DBS.280032", false},
		{Denied, 400, "DBS.280015", false}, {Arrears, 403, "DBS.280019", false},
	} {
		t.Run(string(tc.kind), func(t *testing.T) {
			c := newCaller(t, Config{})
			c.script(OpCreate, Answer{Kind: tc.kind})
			c.send("POST", c.path("/instances"), replica(3)).want(tc.status, tc.code)
			c.wantExecuted(tc.executed)
			c.create(replica(3)) // one answer, one call
			equal(t, "faults", c.cloud.Stats().Faults[tc.kind], 1)
		})
	}
}

func (c *caller) wantExecuted(executed bool) {
	c.t.Helper()
	if n := len(c.cloud.Instances()); (n == 1) != executed {
		c.t.Errorf("%d instances exist; executed: want %v", n, executed)
	}
}

func TestFaultsOfProxies(t *testing.T) {
	for kind, executed := range map[Kind]bool{HTMLBefore: false, HTMLAfter: true, EmptyBefore: false, EmptyAfter: true} {
		c := newCaller(t, Config{Faults: Faults{OpCreate: {kind: 1}}})
		a := c.send("POST", c.path("/instances"), replica(3))
		if strings.HasPrefix(string(kind), "html") {
			a.wantStatus(502)
			equal(t, "type", a.header.Get("Content-Type"), "text/html")
			if !strings.HasPrefix(a.text, "<html>") {
				t.Errorf("body is %q", a.text)
			}
		} else {
			a.wantStatus(503)
			equal(t, "body", a.text, "")
		}
		c.wantExecuted(executed)
	}
}

func TestFaultsThatSpoilTheTrueAnswer(t *testing.T) {
	c := newCaller(t, Config{HugeBody: 1 << 20})
	c.script(OpCreate, Answer{Kind: NoID}, Answer{Kind: CutJSON}, Answer{Kind: HugeBody})
	a := c.send("POST", c.path("/instances"), replica(3))
	a.wantStatus(202)
	v := a.object()
	if v["id"] != nil || v["job_id"] != nil || v["name"] != "test-replica" {
		t.Errorf("got %s, want all but id and job_id", a.text)
	}
	a = c.send("POST", c.path("/instances"), replica(3))
	a.wantStatus(202)
	if !strings.HasPrefix(a.text, `{"id":"`) || strings.HasSuffix(a.text, "}") {
		t.Errorf("got %q, want half an answer", a.text)
	}
	a = c.send("POST", c.path("/instances"), replica(3))
	a.wantStatus(202)
	if len(a.text) < 1<<20 {
		t.Errorf("the body has %d bytes, want 1 MB", len(a.text))
	}
	equal(t, "instances", len(c.cloud.Instances()), 3)

	c.script(OpLogin, Answer{Kind: NoID})
	login := c.send("POST", "/v3/auth/tokens", loginRequest(DefaultPassword, projectScope()))
	login.wantStatus(201)
	equal(t, "token", login.header.Get("X-Subject-Token"), "")
}

func TestRedirect(t *testing.T) {
	c := newCaller(t, Config{})
	c.script(OpCreate, Answer{Kind: Redirect})
	a := c.send("POST", c.path("/instances"), replica(3))
	a.wantStatus(307)
	equal(t, "Location", a.header.Get("Location"), "//example.com"+c.path("/instances"))
	c.wantExecuted(false)
}

func TestHang(t *testing.T) {
	for kind, executed := range map[Kind]bool{HangBefore: false, HangAfter: true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCaller(t, Config{})
			c.script(OpCreate, Answer{Kind: kind})
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			started := time.Now()
			a := c.sendContext(ctx, "POST", c.path("/instances"), replica(3))
			equal(t, "hung for", time.Since(started), time.Hour)
			equal(t, "dropped", a.dropped, true)
			c.wantExecuted(executed)
		})
	}
}

func TestScriptedAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{})
		c.script(OpList,
			Answer{Code: "DBS.200998", Delay: 2 * time.Second, Header: map[string]string{"Retry-After": "7"}},
			Answer{},
			Answer{Status: 418, Body: "tea"},
			Answer{Status: 409, Code: "DBS.200022", Message: "taken"})
		started := time.Now()
		a := c.send("GET", c.path("/instances"), nil)
		a.want(400, "DBS.200998")
		equal(t, "message", a.object()["error_msg"], "The system is busy. Try again later.")
		equal(t, "Retry-After", a.header.Get("Retry-After"), "7")
		equal(t, "took", time.Since(started), 2*time.Second)
		equal(t, "waiting", c.cloud.Waiting(OpList), 3)
		c.list("") // the second passes
		a = c.send("GET", c.path("/instances"), nil)
		a.wantStatus(418)
		equal(t, "body", a.text, "tea")
		a = c.send("GET", c.path("/instances"), nil)
		a.want(409, "DBS.200022")
		equal(t, "message", a.object()["error_msg"], "taken")
		equal(t, "scripted", c.cloud.Stats().Faults[scripted], 4)
	})
}

func TestScriptsOfOneOperationAndOfAll(t *testing.T) {
	c := newCaller(t, Config{Faults: Faults{OpAny: {TooMany: 1}, OpCreate: {}, OpLogin: {}}})
	c.script(OpAny, Answer{Code: "DBS.280005"})
	c.script(OpList, Answer{Code: "DBS.280042"})
	c.send("GET", c.path("/instances"), nil).want(403, "DBS.280042")
	c.send("GET", c.path("/instances"), nil).want(500, "DBS.280005")
	c.send("GET", c.path("/instances"), nil).want(429, "DBS.280443")
	c.create(replica(3)) // has an entry of its own
	c.script(OpCreate, Answer{Kind: Forbidden})
	c.cloud.ClearScripts()
	c.create(replica(3))
}

func TestScriptsSpareCallsThatAreRefusedBefore(t *testing.T) {
	c := newCaller(t, Config{})
	c.script(OpList, Answer{Kind: Forbidden})
	token := c.token
	c.token = "MIIstale"
	c.send("GET", c.path("/instances"), nil).want(401, "APIGW.0301")
	c.token = token
	c.send("GET", c.path("/instances"), nil).want(403, "DBS.280032")
}

// The nastiest of all: the caller has an error in hand, looks, finds nothing, and then it happens.
func TestLateExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{})
		c.script(OpCreate, Answer{Kind: TimeoutAfter, Late: 30 * time.Second})
		c.send("POST", c.path("/instances"), replica(3)).want(504, "APIGW.0201")
		c.create(replica(3).with(object{"name": "newer"}))
		equal(t, "list", c.names(""), "newer")
		sleep(30 * time.Second)
		equal(t, "list, by time of creation", c.names(""), "test-replica newer")
		equal(t, "the job's time begins then", c.instance(c.cloud.Instances()[1].ID)["actions"], "[CREATE]")
	})
}

func TestLoginFaults(t *testing.T) {
	c := &caller{t: t, cloud: New(Config{})}
	login := func() gotAnswer {
		return c.send("POST", "/v3/auth/tokens", loginRequest(DefaultPassword, projectScope()))
	}
	c.script(OpLogin, Answer{Kind: ServerErrorBefore}, Answer{Kind: TooMany}, Answer{Kind: Forbidden}, Answer{Kind: TimeoutAfter})
	login().want(500, "IAM.0006")
	login().want(429, "IAM.0012")
	login().want(403, "IAM.0003")
	login().want(504, "APIGW.0201")
	equal(t, "tokens", c.cloud.Stats().TokensIssued, 1)
}

func TestChancesFollowTheSeed(t *testing.T) {
	run := func(seed uint64) (string, int) {
		c := newCaller(t, Config{Seed: seed, Faults: Faults{OpList: {TooMany: 0.2, ServerErrorBefore: 0.2}}})
		var b strings.Builder
		for range 400 {
			fmt.Fprint(&b, c.send("GET", c.path("/instances"), nil).status, " ")
		}
		s := c.cloud.Stats()
		return b.String(), s.Faults[TooMany] + s.Faults[ServerErrorBefore]
	}
	one, hits := run(7)
	again, _ := run(7)
	other, _ := run(8)
	if one != again {
		t.Error("one seed gave two runs")
	}
	if one == other {
		t.Error("two seeds gave one run")
	}
	if hits < 110 || hits > 210 {
		t.Errorf("%d of 400 calls went wrong, want about 160", hits)
	}
}

func TestImpossibleFaults(t *testing.T) {
	c := New(Config{})
	for what, err := range map[string]error{
		"unknown operation": c.SetFaults(Faults{"make": {DropAfter: 0.1}}),
		"unknown kind":      c.SetFaults(Faults{OpCreate: {"explode": 0.1}}),
		"chance above 1":    c.SetFaults(Faults{OpCreate: {DropAfter: 1.1}}),
		"negative chance":   c.SetFaults(Faults{OpCreate: {DropAfter: -0.1}}),
		"sum above 1":       c.SetFaults(Faults{OpCreate: {DropAfter: 0.6, DropBefore: 0.6}}),
		"script operation":  c.Script("make", Answer{}),
		"script kind":       c.Script(OpCreate, Answer{Kind: "explode"}),
		"script status":     c.Script(OpCreate, Answer{Status: 42}),
		"script delay":      c.Script(OpCreate, Answer{Delay: -1}),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func TestEveryKindIsReachable(t *testing.T) {
	seen := map[Kind]bool{}
	for _, kind := range Kinds() {
		if seen[kind] {
			t.Errorf("%s is listed twice", kind)
		}
		seen[kind] = true
		c := newCaller(t, Config{HugeBody: 10, SlowByte: time.Nanosecond})
		c.script(OpDelete, Answer{Kind: kind})
		ctx, cancel := context.WithCancel(t.Context())
		if kind == HangBefore || kind == HangAfter {
			cancel()
		}
		r := httptest.NewRequestWithContext(ctx, http.MethodDelete, c.path("/instances/46125c43ca4d424a9f5c97354223c4e0in02"), nil)
		r.Header.Set("X-Auth-Token", c.token)
		func() {
			defer func() { _ = recover() }()
			c.cloud.ServeHTTP(httptest.NewRecorder(), r)
		}()
		cancel()
		equal(t, string(kind), c.cloud.Stats().Faults[kind], 1)
		equal(t, "calls still running", c.cloud.Stats().Concurrent, 0)
	}
}
