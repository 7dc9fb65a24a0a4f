package ddsfake

import (
	"strings"
	"testing"
	"time"
)

func TestNamesRepeatOrNot(t *testing.T) {
	now := newCaller(t, Config{})
	now.create(replica(3))
	now.create(replica(3)) // a second instance, billed as well
	equal(t, "instances of one name", len(now.cloud.Instances()), 2)

	for _, dialect := range []string{FlexibleEngine, Huawei2020} {
		old := newCaller(t, Config{Dialect: dialect})
		old.create(replica(1))
		old.send("POST", old.path("/instances"), replica(1)).want(400, "DBS.200022")
		equal(t, "instances", len(old.cloud.Instances()), 1)
	}
}

func TestTagsByDialect(t *testing.T) {
	tags := []object{{"key": "create_token", "value": "abc"}}
	for dialect, kept := range map[string]bool{Huawei: true, OTC: true, FlexibleEngine: false, Huawei2020: false} {
		c := newCaller(t, Config{Dialect: dialect})
		num := 3
		if !kept {
			num = 1
		}
		body := replica(num).with(otcDatastore(object{"tags": tags, "backup_strategy": object{"start_time": "08:00-09:00"}}))
		a := c.send("POST", c.path("/instances"), body)
		a.wantStatus(202)
		v := a.object()
		want := any(nil)
		if kept {
			want = []any{map[string]any{"key": "create_token", "value": "abc"}}
		}
		equal(t, dialect+": answer's tags", v["tags"], want)
		equal(t, dialect+": list's tags", c.instance(v["id"].(string))["tags"], want)
	}
	otc := newCaller(t, Config{Dialect: OTC})
	dot := replica(3).with(otcDatastore(object{"tags": []object{{"key": "k", "value": "1.2"}}, "backup_strategy": nil}))
	otc.send("POST", otc.path("/instances"), dot).want(400, "DBS.280483")
	huawei := newCaller(t, Config{})
	huawei.create(dot)
}

func TestReplicaNumbers(t *testing.T) {
	for dialect, allowed := range map[string]map[int]bool{
		Huawei: {3: true, 5: true, 7: true}, OTC: {1: true, 3: true}, FlexibleEngine: {1: true}, Huawei2020: {1: true},
	} {
		for num := 1; num <= 8; num++ {
			c := newCaller(t, Config{Dialect: dialect, JobMin: time.Nanosecond})
			a := c.send("POST", c.path("/instances"), replica(num).with(otcDatastore(object{"backup_strategy": nil})))
			if !allowed[num] {
				a.want(400, "DBS.280123")
				continue
			}
			a.wantStatus(202)
			groups := c.instance(a.object()["id"].(string))["groups"].([]any)
			nodes := len(groups[0].(map[string]any)["nodes"].([]any))
			equal(t, dialect+": nodes", nodes, max(3, num))
		}
	}
}

func TestJobCallsByDialect(t *testing.T) {
	const span = "?start_time=2026-01-01T00:00:00%2B0000&end_time=2026-01-02T00:00:00%2B0000"
	for dialect, want := range map[string][2]bool{
		Huawei: {true, true}, OTC: {true, false}, FlexibleEngine: {false, false}, Huawei2020: {false, false},
	} {
		c := newCaller(t, Config{Dialect: dialect})
		one := c.send("GET", c.path("/jobs?id=c010abd0-48cf-4fa8-8cbc-090f093eaa2f"), nil)
		if want[0] {
			one.want(400, "DBS.280016")
		} else {
			one.want(404, "APIGW.0101")
		}
		many := c.send("GET", "/v3.1/"+c.project+"/jobs"+span, nil)
		if want[1] {
			many.wantStatus(200)
		} else {
			many.want(404, "APIGW.0101")
		}
	}
}

func TestUnknownIDInTheList(t *testing.T) {
	const id = "/instances?id=46125c43ca4d424a9f5c97354223c4e0in02"
	for _, tc := range []struct {
		cfg   Config
		error bool
	}{
		{Config{}, true}, {Config{Dialect: OTC}, true}, {Config{Dialect: FlexibleEngine}, false}, {Config{Dialect: Huawei2020}, false},
		{Config{UnknownID: UnknownIDEmpty}, false}, {Config{Dialect: Huawei2020, UnknownID: UnknownIDError}, true},
	} {
		c := newCaller(t, tc.cfg)
		a := c.send("GET", c.path(id), nil)
		if tc.error {
			a.want(400, "DBS.280110")
			continue
		}
		a.wantStatus(200)
		equal(t, "body", a.text, `{"instances":[],"total_count":0}`)
	}
}

func TestFiveHasNoSingleNodeOnOTC(t *testing.T) {
	body := singleNode().with(object{"backup_strategy": nil,
		"datastore": object{"type": community, "version": "5.0", "storage_engine": "rocksDB"}})
	otc := newCaller(t, Config{Dialect: OTC})
	otc.send("POST", otc.path("/instances"), body).want(400, "DBS.280342")
	newCaller(t, Config{}).create(body)
}

func TestPortOnlyWhereItIsTaken(t *testing.T) {
	c := newCaller(t, Config{Dialect: Huawei2020})
	a := c.send("POST", c.path("/instances"), replica(1).with(object{"port": "27017"}))
	a.wantStatus(202)
	equal(t, "port", a.object()["port"], 8635)
}

func TestUnknownCalls(t *testing.T) {
	c := newCaller(t, Config{})
	for _, call := range []string{
		"GET /", "GET /v3", "PUT /v3/" + c.project + "/instances", "GET /v3/" + c.project + "/instances/x", "POST /auth/tokens",
		"GET /v3/auth/tokens", "GET /v3/" + c.project + "/flavors", "GET /v3//instances", "POST /v3/" + c.project + "/instances/",
	} {
		method, path, _ := strings.Cut(call, " ")
		c.send(method, path, nil).want(404, "APIGW.0101")
	}
}
