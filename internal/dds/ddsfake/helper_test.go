package ddsfake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// object is a JSON object of a test.
type object map[string]any

// with returns a copy with some keys replaced; nil takes a key out.
func (o object) with(changes object) object {
	c := maps.Clone(o)
	for key, value := range changes {
		if value == nil {
			delete(c, key)
		} else {
			c[key] = value
		}
	}
	return c
}

// The documented bodies, dds-api.md §2.
func cluster() object {
	return object{
		"name":      "test-cluster",
		"datastore": object{"type": "DDS-Community", "version": "3.4", "storage_engine": "wiredTiger"},
		"region":    "aaa", "availability_zone": "bbb",
		"vpc_id":             "674e9b42-cd8d-4d25-a2e6-5abcc565b961",
		"subnet_id":          "f1df08c5-71d1-406a-aff0-de435a51007b",
		"security_group_id":  "7aa51dbf-5b63-40db-9724-dad3c4828b58",
		"password":           "Test@123",
		"disk_encryption_id": "d4825f1b-5e47-4ff7-8ca9-0960da1770b1",
		"mode":               "Sharding",
		"flavor": []object{
			{"type": "mongos", "num": 2, "spec_code": "dds.c3.medium.4.mongos"},
			{"type": "shard", "num": 2, "storage": "ULTRAHIGH", "size": 20, "spec_code": "dds.c3.medium.4.shard"},
			{"type": "config", "num": 1, "storage": "ULTRAHIGH", "size": 20, "spec_code": "dds.c3.large.2.config"},
		},
		"backup_strategy": object{"start_time": "08:15-09:15", "keep_days": "8"},
		"ssl_option":      "1",
	}
}

func enhancedCluster() object {
	return cluster().with(object{
		"name": "test-enhanced", "disk_encryption_id": nil,
		"datastore": object{"type": "DDS-Enhanced", "version": "3.4", "storage_engine": "rocksDB"},
		"flavor":    []object{{"type": "shard", "num": 2, "spec_code": "dds.container.c3.medium.4.shard"}},
		"storage":   object{"size": 500},
	})
}

func replica(num any) object {
	return cluster().with(object{
		"name": "test-replica", "mode": "ReplicaSet", "disk_encryption_id": nil,
		"flavor": []object{{"type": "replica", "num": num, "storage": "ULTRAHIGH", "size": 30, "spec_code": "dds.mongodb.s6.medium.4.repset"}},
	})
}

func singleNode() object {
	return cluster().with(object{
		"name": "test-single", "mode": "Single", "disk_encryption_id": nil,
		"flavor": []object{{"type": "single", "num": 1, "storage": "ULTRAHIGH", "size": 30, "spec_code": "dds.mongodb.s6.medium.4.single"}},
	})
}

// caller sends calls straight into the handler.
type caller struct {
	t       *testing.T
	cloud   *Cloud
	project string
	token   string
}

// newCaller makes a cloud and logs in.
func newCaller(t *testing.T, cfg Config) *caller {
	t.Helper()
	c := &caller{t: t, cloud: New(cfg), project: DefaultProjectID}
	c.login()
	return c
}

func loginRequest(password string, scope object) object {
	return object{"auth": object{
		"identity": object{"methods": []string{"password"}, "password": object{"user": object{
			"name": DefaultUser, "password": password, "domain": object{"name": DefaultDomain}}}},
		"scope": scope,
	}}
}

func projectScope() object { return object{"project": object{"name": DefaultProjectName}} }

func (c *caller) login() {
	c.t.Helper()
	a := c.send("POST", "/v3/auth/tokens", loginRequest(DefaultPassword, projectScope()))
	a.wantStatus(201)
	c.token = a.header.Get("X-Subject-Token")
}

// answer is what came back.
type gotAnswer struct {
	t       *testing.T
	status  int
	header  http.Header
	text    string
	dropped bool
}

// send calls the handler; body nil is none.
func (c *caller) send(method, path string, body any) gotAnswer {
	return c.sendContext(context.Background(), method, path, body)
}

func (c *caller) sendContext(ctx context.Context, method, path string, body any) (got gotAnswer) {
	c.t.Helper()
	text := ""
	switch v := body.(type) {
	case nil:
	case string:
		text = v
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			c.t.Fatal(err)
		}
		text = string(raw)
	}
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(text))
	if c.token != "" {
		r.Header.Set("X-Auth-Token", c.token)
	}
	w := httptest.NewRecorder()
	got.t = c.t
	defer func() {
		if err, _ := recover().(error); errors.Is(err, http.ErrAbortHandler) {
			got.dropped = true
		} else if err != nil {
			panic(err)
		}
		got.status, got.header, got.text = w.Code, w.Header(), w.Body.String()
	}()
	c.cloud.ServeHTTP(w, r)
	return got
}

func (c *caller) path(rest string) string { return "/v3/" + c.project + rest }

// create makes an instance and returns its id and its job's.
func (c *caller) create(body object) (id, job string) {
	c.t.Helper()
	a := c.send("POST", c.path("/instances"), body)
	a.wantStatus(202)
	v := a.object()
	job, _ = v["job_id"].(string)
	return v["id"].(string), job
}

// list returns the instances that a query finds, and the total.
func (c *caller) list(query string) (instances []object, total int) {
	c.t.Helper()
	a := c.send("GET", c.path("/instances?"+query), nil)
	a.wantStatus(200)
	v := a.object()
	for _, i := range v["instances"].([]any) {
		instances = append(instances, i.(map[string]any))
	}
	return instances, int(v["total_count"].(float64))
}

func (c *caller) names(query string) string {
	c.t.Helper()
	instances, _ := c.list(query)
	var names []string
	for _, i := range instances {
		names = append(names, i["name"].(string))
	}
	return strings.Join(names, " ")
}

func (c *caller) instance(id string) object {
	c.t.Helper()
	instances, total := c.list("id=" + id)
	if len(instances) != 1 || total != 1 {
		c.t.Fatalf("instance %s: got %d instances, total %d, want 1", id, len(instances), total)
	}
	return instances[0]
}

func (c *caller) job(id string) object {
	c.t.Helper()
	a := c.send("GET", c.path("/jobs?id="+id), nil)
	a.wantStatus(200)
	return a.object()["job"].(map[string]any)
}

func (c *caller) script(op Op, answers ...Answer) {
	c.t.Helper()
	if err := c.cloud.Script(op, answers...); err != nil {
		c.t.Fatal(err)
	}
}

func (a gotAnswer) object() object {
	a.t.Helper()
	var v object
	if err := json.Unmarshal([]byte(a.text), &v); err != nil {
		a.t.Fatalf("body %q: %v", a.text, err)
	}
	return v
}

func (a gotAnswer) wantStatus(status int) {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d; body %.300s", a.status, status, a.text)
	}
	if id := a.header.Get("X-Request-Id"); len(id) != 32 {
		a.t.Errorf("X-Request-Id is %q, want 32 hex digits", id)
	}
}

// want checks status and error code, and that the gateway's answers repeat the request id.
func (a gotAnswer) want(status int, code string) {
	a.t.Helper()
	a.wantStatus(status)
	v := a.object()
	if v["error_code"] != code || v["error_msg"] == "" {
		a.t.Errorf("got %s, want code %s and a message", a.text, code)
	}
	if strings.HasPrefix(code, "APIGW.") != (v["request_id"] == a.header.Get("X-Request-Id")) {
		a.t.Errorf("request_id is %v in an answer with code %s", v["request_id"], code)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// sleep lets time pass in a synctest bubble.
func sleep(d time.Duration) { <-time.After(d) }
