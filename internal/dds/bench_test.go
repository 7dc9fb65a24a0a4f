package dds

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

// canned answers without a network, so that only this package's part is measured.
type canned struct {
	status int
	body   string
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	return &http.Response{StatusCode: c.status, Header: http.Header{"X-Request-Id": {"req-1"}}, Body: io.NopCloser(strings.NewReader(c.body)), Request: r}, nil
}

func BenchmarkCreate(b *testing.B) {
	c, _ := client(b, "https://dds.example.test", HTTP{})
	c.sender.transport = canned{202, createdAnswer}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.CreateInstance(context.Background(), project, createBody); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCreateOverHTTP is the whole way of a call; what the server allocates is
// counted with it.
func BenchmarkCreateOverHTTP(b *testing.B) {
	c, _ := served(b, says(202, nil, createdAnswer))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.CreateInstance(context.Background(), project, createBody); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRefusedCreate(b *testing.B) {
	c, _ := client(b, "https://dds.example.test", HTTP{})
	c.sender.transport = canned{429, `{"error_code":"APIGW.0308","error_msg":"The throttling threshold has been reached: policy user over ratelimit,limit:60,time:1 minute"}`}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.CreateInstance(context.Background(), project, createBody); err == nil {
			b.Fatal("no error")
		}
	}
}

// BenchmarkJobs reads a page of 100 jobs that run.
func BenchmarkJobs(b *testing.B) {
	const item = `{"id":"%08x-4b1e-4cc2-9d5a-%012x","name":"CreateMongoDB","instance_id":"%032xin02","instance_name":"cluster-%d",` +
		`"status":"Running","progress":"9%%","fail_reason":"","created_at":"2022-09-05T06:24:14+0000","ended_at":""}`
	items := make([]string, 100)
	for i := range items {
		items[i] = fmt.Sprintf(item, i*2654435761&0xffffffff, i*7919, i*104729, i)
	}
	body := `{"jobs":[` + strings.Join(items, ",") + `]}`
	c, _ := client(b, "https://dds.example.test", HTTP{})
	c.sender.transport = canned{200, body}
	window := provision.JobWindow{From: time.Now().Add(-time.Hour), To: time.Now()}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if page, err := c.Jobs(context.Background(), project, window); err != nil || len(page.Jobs) != 100 || page.Jobs[99].InstanceID == "" {
			b.Fatal(err)
		}
	}
}

// BenchmarkScrub looks for two secrets in the longest text that is looked at, and
// in those that are made to waste time.
func BenchmarkScrub(b *testing.B) {
	s := newSecrets(tokenCanary, passCanary)
	for name, text := range map[string]string{
		"plain": long("a text of words ", ""), "percents": long("25", "%"), "HTML": long("amp;", "&"), "JSON": long("u005c", `\`),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				s.scrub(text, false)
			}
		})
	}
}

// BenchmarkList reads a page of 100 clusters of 11 nodes.
func BenchmarkList(b *testing.B) {
	node := `{"id":"0123456789abcdef0123456789abcdefno02","name":"n_shard_1_node_1","status":"normal","role":"Primary","private_ip":"192.168.0.1","public_ip":"","spec_code":"dds.mongodb.s6.large.4.shard","availability_zone":"az1"}`
	group := `{"type":"shard","id":"g","name":"shard_1","status":"normal","volume":{"size":"20","used":"0.3"},"nodes":[` + strings.Repeat(node+",", 10) + node + `]}`
	item := `{"id":"%032din02","name":"n","status":"normal","port":"8635","datastore":{"type":"DDS-Community","version":"4.0"},"tags":[{"key":"provision-request","value":"c010abd0-48cf-4fa8-8cbc-090f093eaa2f"}],"groups":[` + group + `]}`
	items := make([]string, 100)
	for i := range items {
		items[i] = fmt.Sprintf(item, i)
	}
	body := `{"instances":[` + strings.Join(items, ",") + `],"total_count":100}`
	c, _ := client(b, "https://dds.example.test", HTTP{})
	c.sender.transport = canned{200, body}
	for name, q := range map[string]provision.InstanceQuery{"whole": {}, "one wanted": {Wanted: map[string]bool{fmt.Sprintf("%032din02", 7): true}}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if page, err := c.ListInstances(context.Background(), project, q); err != nil || len(page.Instances) != 100 {
					b.Fatal(err)
				}
			}
		})
	}
}
