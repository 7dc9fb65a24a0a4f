package dds

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

func TestAPageTellsOnlyWhatIsWanted(t *testing.T) {
	const answer = `{"total_count":5,"instances":[
		{"id":"i1","status":"creating","actions":["CREATE"],"mode":"Single","tags":[{"key":"provision-request","value":"m"}],"groups":[{"nodes":[{"private_ip":"10.0.0.1"}]}]},
		{"id":"i2","status":"normal","actions":["CREATE"],"port":"8635"},
		{"id":"i3","status":"normal","actions":[],"port":"8635","groups":[{"nodes":[{"private_ip":"10.0.0.3"}]}]},
		{"id":"i4","status":"normal","actions":[],"name":"MIIFvgYJKoZIhvcNAQcCoIIFrzCCBasCAQExDTALBglghkgBZQMEAgEw+/CANARY=="},
		{"id":"i5","status":"normal","actions":[],"port":"8635"}]}`
	var query string
	c, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.Query().Get("mode")
		says(200, nil, answer)(w, r)
	})
	page, err := c.ListInstances(t.Context(), project, provision.InstanceQuery{Mode: "Single", Wanted: map[string]bool{"i1": true, "i2": true, "i3": true, "i5": false}})
	if err != nil || query != "Single" || page.Total != 5 || len(page.Instances) != 5 {
		t.Fatalf("%v, asked for mode %q, %d of %d", err, query, len(page.Instances), page.Total)
	}
	building := provision.Instance{ID: "i1", Status: "creating", Actions: []string{"CREATE"}, Mode: "Single", Tags: map[string]string{"provision-request": "m"}}
	if got := page.Instances[0]; !reflect.DeepEqual(got, building) {
		t.Errorf("what is being built is %+v", got)
	}
	if got := page.Instances[1]; got.Status != "normal" || len(got.Actions) != 1 || got.Detail != nil {
		t.Errorf("what is nearly ready is %+v", got)
	}
	if got := page.Instances[2]; len(got.Addresses) != 1 || got.Detail == nil {
		t.Errorf("what is ready is %+v", got)
	}
	if got := page.Instances[3]; !reflect.DeepEqual(got, provision.Instance{}) {
		t.Errorf("what is not wanted is %+v", got)
	}
	if got := page.Instances[4]; got.ID != "i5" || got.Status != "normal" || got.Detail != nil {
		t.Errorf("what is known is %+v", got)
	}
}

func TestAnItemWithoutAnIDIsNoPage(t *testing.T) {
	c, _ := served(t, says(200, nil, `{"total_count":1,"instances":[{"status":"normal"}]}`))
	if _, err := c.ListInstances(t.Context(), project, provision.InstanceQuery{Wanted: map[string]bool{"i1": true}}); err == nil {
		t.Error("no error")
	}
}

func TestJobsAreAskedForByNameAndStatus(t *testing.T) {
	var name, status string
	c, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		name, status = r.URL.Query().Get("name"), r.URL.Query().Get("status")
		says(200, nil, `{"jobs":[]}`)(w, r)
	})
	w := provision.JobWindow{From: time.Now().Add(-time.Hour), To: time.Now(), Name: "CreateMongoDB", Status: provision.JobRunning}
	if _, err := c.Jobs(t.Context(), project, w); err != nil || name != "CreateMongoDB" || status != "Running" {
		t.Errorf("%v, asked for %q %q", err, name, status)
	}
}
