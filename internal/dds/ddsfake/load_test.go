package ddsfake

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Calls from many sides at once; the race detector and the counts judge.
func TestManyCallersAtOnce(t *testing.T) {
	c := newCaller(t, Config{JobMin: time.Millisecond, SettleLag: -1, JobLag: -1, DeleteTime: -1})
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 50 {
				name := fmt.Sprintf("inst-%d-%d", n, i)
				id, _ := c.create(replica(3).with(object{"name": name}))
				equal(t, "by name", c.names("name="+name), name)
				c.cloud.Stats()
				if i%10 == 0 {
					c.list("")
				}
				c.send("DELETE", c.path("/instances/"+id), nil) // may still be busy
			}
		})
	}
	wg.Wait()
	equal(t, "executed", c.cloud.Stats().CreatesExecuted, 400)
	equal(t, "ever created", len(c.cloud.Instances()), 400)
}

func BenchmarkCalls(b *testing.B) {
	for _, tc := range []struct{ name, method, path, body string }{
		{"create", "POST", "/instances", benchBody},
		{"list by name", "GET", "/instances?name=inst-17", ""},
		{"page of 100", "GET", "/instances?limit=100", ""},
	} {
		b.Run(tc.name, func(b *testing.B) {
			cloud := New(Config{})
			token, _ := cloud.iam.issue(DefaultProjectID, cloud.now())
			call := func(method, path, body string) int {
				r := httptest.NewRequest(method, "/v3/"+DefaultProjectID+path, strings.NewReader(body))
				r.Header.Set("X-Auth-Token", token)
				w := httptest.NewRecorder()
				cloud.ServeHTTP(w, r)
				return w.Code
			}
			for n := range 20_000 {
				call("POST", "/instances", strings.Replace(benchBody, "inst-x", fmt.Sprintf("inst-%d", n), 1))
			}
			for b.Loop() {
				if status := call(tc.method, tc.path, tc.body); status/100 != 2 {
					b.Fatal(status)
				}
			}
		})
	}
}

const benchBody = `{"name":"inst-x","datastore":{"type":"DDS-Community","version":"4.0","storage_engine":"wiredTiger"},"region":"aaa",
"availability_zone":"bbb","vpc_id":"674e9b42-cd8d-4d25-a2e6-5abcc565b961","subnet_id":"f1df08c5-71d1-406a-aff0-de435a51007b",
"security_group_id":"7aa51dbf-5b63-40db-9724-dad3c4828b58","mode":"ReplicaSet",
"flavor":[{"type":"replica","num":"3","size":"20","spec_code":"dds.mongodb.s6.medium.4.repset"}],"tags":[{"key":"k","value":"v"}]}`
