package dds

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

func TestCreated(t *testing.T) {
	var got *http.Request
	var sent []byte
	answer, status := createdAnswer, 202
	c, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		sent, _ = io.ReadAll(r.Body)
		says(status, nil, answer)(w, r)
	})
	created, err := c.CreateInstance(t.Context(), project, createBody)
	want := provision.Created{InstanceID: "0123456789abcdef0123456789abcdefin02", JobID: "c010abd0-48cf-4fa8-8cbc-090f093eaa2f",
		Status: "creating", HTTPStatus: 202, CloudRequestID: "req-1"}
	if err != nil || created != want {
		t.Errorf("%+v, %v", created, err)
	}
	if got.Method != "POST" || got.URL.Path != "/v3/"+project+"/instances" || string(sent) != string(createBody) ||
		got.Header.Get("X-Auth-Token") != tokenCanary || got.Header.Get("X-Language") != "en-us" ||
		got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Idempotency-Key") != "" {
		t.Errorf("%s %s %v %s", got.Method, got.URL, got.Header, sent)
	}
	for _, status = range []int{200, 201, 202} {
		answer = `{"id":"a1in02","name":"N","order_id":"CS1","flavor":"odd","port":{"a":1},"more":[[]]}`
		created, err = c.CreateInstance(t.Context(), project, createBody)
		if err != nil || created.InstanceID != "a1in02" || created.OrderID != "CS1" || created.JobID != "" || created.HTTPStatus != status {
			t.Errorf("%d: %+v, %v", status, created, err)
		}
	}
}

func TestUnreadableSuccessIsLost(t *testing.T) {
	echo := `{"echo":` + string(createBody) + `,"token":"` + tokenCanary + `"}`
	for name, handler := range map[string]http.HandlerFunc{
		"no id":         says(202, nil, `{"job_id":"x"}`),
		"an empty id":   says(202, nil, `{"id":"","job_id":"x"}`),
		"a null id":     says(202, nil, `{"id":null}`),
		"another name":  says(202, nil, `{"id":"a1in02","name":"m"}`),
		"an error":      says(200, nil, `{"error_code":"DBS.280001","error_msg":"m"}`),
		"half the JSON": says(202, nil, createdAnswer[:60]),
		"HTML":          says(200, nil, "<html>logged out</html>"),
		"nothing":       says(202, nil, ""),
		"no content":    says(204, nil, ""),
		"an echo":       says(202, nil, echo),
		"half an echo":  says(202, nil, echo[:40]),
		"cut short": func(w http.ResponseWriter, r *http.Request) {
			says(202, http.Header{"Content-Length": {"1000"}}, createdAnswer)(w, r)
		},
		"a refusal cut short": func(w http.ResponseWriter, r *http.Request) { // its code might say anything
			says(400, http.Header{"Content-Length": {"1000"}}, `{"error_code":"DBS.2009`)(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := served(t, handler)
			e := fails(t, calls(c)[opCreate](t.Context()), provision.ClassLost)
			if e.RequestID != "req-1" || e.Status == 0 {
				t.Errorf("%#v", e)
			}
		})
	}
	c, _ := served(t, says(202, nil, `{"job_id":"the-job"}`))
	if e := fails(t, calls(c)[opCreate](t.Context()), provision.ClassLost); !strings.Contains(e.Message, "the-job") {
		t.Errorf("what could be read is lost: %v", e)
	}
}

func TestHugeAnswers(t *testing.T) {
	for o, limit := range map[op]int64{opCreate: maxAnswer, opJob: maxAnswer, opDelete: maxAnswer, opList: maxPage, opJobs: maxPage} {
		for _, status := range []int{200, 400, 503} {
			var written atomic.Int64
			done := make(chan struct{})
			c, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
				defer close(done)
				w.WriteHeader(status)
				chunk := []byte(strings.Repeat("x", 64<<10))
				for written.Load() < 100<<20 {
					n, err := w.Write(chunk)
					written.Add(int64(n))
					if err != nil {
						return
					}
				}
			})
			start := time.Now()
			err := calls(c)[o](t.Context())
			<-done
			// What lies in the buffers between the two ends was written but not read.
			if w := written.Load(); w > limit+16<<20 || time.Since(start) > 5*time.Second {
				t.Errorf("%s %d: %d bytes went out in %v", o, status, w, time.Since(start))
			}
			want := map[int]provision.Class{200: provision.ClassLost, 400: provision.ClassInvalid, 503: provision.ClassServer}[status]
			if e := fails(t, err, want); status == 200 && !strings.Contains(e.Message, "longer than") {
				t.Errorf("%s: %v", o, e)
			}
		}
	}
}

func TestDelete(t *testing.T) {
	for _, tc := range []struct {
		status    int
		body, job string
	}{{202, `{"job_id":"j1"}`, "j1"}, {202, `{}`, ""}, {204, ``, ""}} {
		c, _ := served(t, says(tc.status, nil, tc.body))
		job, request, err := c.DeleteInstance(t.Context(), project, "i1")
		if err != nil || job != tc.job || request != "req-1" && tc.status != 204 {
			t.Errorf("%+v: %q %q %v", tc, job, request, err)
		}
	}
	c, _ := served(t, says(200, nil, "<html>"))
	fails(t, calls(c)[opDelete](t.Context()), provision.ClassLost)
}

func TestList(t *testing.T) {
	const item = `{"id":"i1","name":"n","status":"normal","actions":["CREATE"],"mode":"Sharding",
		"datastore":{"type":"DDS-Community","version":"4.0"},"port":%PORT%,"ssl":%SSL%,"region":"r","vpc_id":"v","subnet_id":"s",
		"created":"2019-01-17T07:05:52","updated":"x","backup_strategy":{"keep_days":%DAYS%,"start_time":"x"},
		"tags":[{"key":"provision-request","value":"m1"},{"key":"n","value":7}],
		"password":"Secr3t!x","groups":[{"type":"mongos","volume":{"size":%SIZE%},"nodes":[{"private_ip":"192.168.0.1"},{"private_ip":""},{}]},
		{"type":"shard","nodes":[{"private_ip":"fd00::1"}]}],"future":{"field":[1]}}`
	for _, v := range [][]string{
		{"%PORT%", `"8635"`, "%SSL%", `"1"`, "%DAYS%", `"8"`, "%SIZE%", `"20.0"`, "%TOTAL%", "7"},
		{"%PORT%", `8635`, "%SSL%", `1`, "%DAYS%", `8`, "%SIZE%", `20`, "%TOTAL%", `"7"`},
		{"%PORT%", `8635`, "%SSL%", `true`, "%DAYS%", `null`, "%SIZE%", `{}`, "%TOTAL%", `7.0`},
	} {
		var query string
		body := strings.NewReplacer(v...).Replace(`{"instances":[` + item + `],"total_count":%TOTAL%}`)
		c, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
			query = r.URL.RawQuery
			says(200, nil, body)(w, r)
		})
		page, err := c.ListInstances(t.Context(), project, provision.InstanceQuery{ID: "i1", Name: "a b&c", Offset: 5, Limit: 50})
		if err != nil {
			t.Fatal(err)
		}
		if query != "id=i1&limit=50&name=a+b%26c&offset=5" {
			t.Errorf("query %q", query)
		}
		if page.Total != 7 || len(page.Instances) != 1 || page.CloudRequestID != "req-1" {
			t.Fatalf("%+v", page)
		}
		got := page.Instances[0]
		var detail map[string]any
		if err := json.Unmarshal(got.Detail, &detail); err != nil || detail["future"] == nil || strings.Contains(string(got.Detail), "Secr3t") {
			t.Errorf("detail %s: %v", got.Detail, err)
		}
		got.Detail = nil
		want := provision.Instance{ID: "i1", Name: "n", Status: "normal", Actions: []string{"CREATE"}, Mode: "Sharding",
			Datastore: "DDS-Community", Version: "4.0", Port: "8635", Region: "r", VPCID: "v", SubnetID: "s",
			Created: "2019-01-17T07:05:52", Tags: map[string]string{"provision-request": "m1", "n": "7"},
			Addresses: []string{"192.168.0.1:8635", "[fd00::1]:8635"}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestListIsLenientInWhatDoesNotMatter(t *testing.T) {
	for _, field := range []string{"name", "status", "actions", "mode", "datastore", "port", "region", "vpc_id", "created", "tags", "groups"} {
		for _, value := range []string{`null`, `1`, `"x"`, `true`, `[]`, `{}`, `[1,"x",{"nodes":3},null]`, `1e999`, `"\u0000\ud800"`} {
			c, _ := served(t, says(200, nil, `{"instances":[{"id":"i1","`+field+`":`+value+`}],"total_count":1}`))
			page, err := c.ListInstances(t.Context(), project, provision.InstanceQuery{})
			if err != nil || len(page.Instances) != 1 || page.Instances[0].ID != "i1" {
				t.Errorf("%s: %s: %v", field, value, err)
				continue
			}
			if all, _ := json.Marshal(page.Instances[0]); strings.Contains(string(all), `\u0000`) {
				t.Errorf("%s: a NUL came through: %s", field, all)
			}
		}
	}
}

// TestListIsStrictInWhatMatters: what is missing would be taken for absent.
func TestListIsStrictInWhatMatters(t *testing.T) {
	for _, body := range []string{
		``, `{}`, `[]`, `null`, `{"instances":[]}`, `{"instances":{},"total_count":0}`, `{"instances":null,"total_count":1}`,
		`{"instances":[],"total_count":"many"}`, `{"instances":[],"total_count":-1}`, `{"instances":[],"total_count":"NaN"}`,
		`{"instances":[{"name":"n"}],"total_count":1}`, `{"instances":["i1"],"total_count":1}`, `{"instances":[null],"total_count":1}`,
		`{"instances":[{"id":"i1"}],"total_count":1`,
	} {
		c, _ := served(t, says(200, nil, body))
		fails(t, calls(c)[opList](t.Context()), provision.ClassLost)
	}
	c, _ := served(t, says(200, nil, `{"instances":[],"total_count":0}`))
	if err := calls(c)[opList](t.Context()); err != nil {
		t.Error(err)
	}
}

func TestJob(t *testing.T) {
	created := time.Date(2021, 7, 12, 9, 22, 4, 0, time.UTC)
	for _, tc := range []struct {
		body string
		want provision.Job
	}{
		{`{"job":{"id":"j1","name":"Create_MongoDB","status":"Running","created":"2021-07-12T09:22:04+0000","ended":"2021-07-12T09:22:14+0000",
			"progress":"9%","instance":{"id":"i1","name":"n"},"fail_reason":null}}`,
			provision.Job{ID: "j1", Name: "Create_MongoDB", InstanceID: "i1", Status: "Running", Progress: 9, Created: created, Ended: created.Add(10 * time.Second)}},
		{`{"job":{"id":"j1","status":"Failed","created":"2021-07-12T11:22:04+02:00","ended":"","progress":"","instance":[],"fail_reason":"Failed to upgrade the DB Agent."}}`,
			provision.Job{ID: "j1", Status: "Failed", Created: created, FailReason: "Failed to upgrade the DB Agent."}},
		{`{"job":{"id":"j1","status":"Completed","created":"2021-07-12T09:22:04Z","ended":"yesterday","progress":150}}`,
			provision.Job{ID: "j1", Status: "Completed", Progress: 100, Created: created}},
		{`{"job":{"id":7,"status":"Running","created":"2021-07-12T09:22:04.5+0000","progress":-3,"instance":"i1"}}`,
			provision.Job{ID: "7", Status: "Running", Created: created.Add(time.Second / 2)}},
	} {
		var got *http.Request
		c, _ := served(t, func(w http.ResponseWriter, r *http.Request) { got = r; says(200, nil, tc.body)(w, r) })
		job, err := c.Job(t.Context(), project, "j&1")
		if err != nil || job != tc.want {
			t.Errorf("got  %+v, %v\nwant %+v", job, err, tc.want)
		}
		if got.URL.Path != "/v3/"+project+"/jobs" || got.URL.Query().Get("id") != "j&1" {
			t.Errorf("called %s", got.URL)
		}
	}
	for _, body := range []string{``, `{}`, `{"job":null}`, `{"job":{"id":"j1"}}`, `{"job":{"status":"Running"}}`} {
		c, _ := served(t, says(200, nil, body))
		fails(t, calls(c)[opJob](t.Context()), provision.ClassLost)
	}
}

func TestJobs(t *testing.T) {
	var got *http.Request
	c, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		says(200, nil, `{"jobs":[{"id":"j1","name":"CreateMongoDB","instance_id":"i1","status":"Completed","progress":"","fail_reason":"",
			"created_at":"2022-09-05T06:24:14+0000","ended_at":"2022-09-05T06:34:14+0000"},7]}`)(w, r)
	})
	from := time.Date(2022, 9, 5, 8, 0, 0, 0, time.FixedZone("", 2*3600))
	page, err := c.Jobs(t.Context(), project, provision.JobWindow{From: from, To: from.Add(time.Hour), Offset: 100})
	created := time.Date(2022, 9, 5, 6, 24, 14, 0, time.UTC)
	want := provision.Job{ID: "j1", Name: "CreateMongoDB", InstanceID: "i1", Status: "Completed", Created: created, Ended: created.Add(10 * time.Minute)}
	if err != nil || len(page.Jobs) != 2 || page.Jobs[0] != want || page.Jobs[1] != (provision.Job{}) {
		t.Errorf("%+v, %v", page, err)
	}
	if raw := got.URL.RawQuery; raw != "end_time=2022-09-05T07%3A00%3A00%2B0000&limit=100&offset=100&start_time=2022-09-05T06%3A00%3A00%2B0000" ||
		got.URL.Path != "/v3.1/"+project+"/jobs" {
		t.Errorf("called %s", got.URL)
	}
	for _, body := range []string{``, `{}`, `{"jobs":null}`, `{"jobs":{}}`} {
		c, _ := served(t, says(200, nil, body))
		fails(t, calls(c)[opJobs](t.Context()), provision.ClassLost)
	}
}
