package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ddsworker/bench/chart"
)

// The lab starts this program again for its roles.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "role" {
		main()
		return
	}
	os.Exit(m.Run())
}

// With a load that is far too small to measure anything, everybody gets through,
// and each has made the calls and the rows that it must.
func TestEverybodyGetsThrough(t *testing.T) {
	out := t.TempDir()
	c := compareCase{options: options{Out: out, Concurrency: 8, Limit: time.Minute}, Requests: 50, Peers: 50}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out, "compare.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range r.Results {
		names = append(names, v.Name)
		if v.CallsByKind["create"] != 1 || v.RequestsPerSecond <= 0 || v.CreatesPerSecond < v.RequestsPerSecond || v.WorkerCPU <= 0 {
			t.Errorf("%+v", v)
		}
		if v.Name != "floor" && (v.Commits <= 0 || v.Calls <= 1 || v.DetectionP99 < v.DetectionP50) {
			t.Errorf("%+v", v)
		}
		if v.Name == "plain" && v.Commits < 3 { // intent, outcome and end of each request
			t.Errorf("%s: %v commits a request", v.Name, v.Commits)
		}
	}
	if got := fmt.Sprint(names); got != "[floor ours plain river floor]" {
		t.Errorf("results are of %s", got)
	}
	if r.Machine["postgres fsync"] != "on" || r.Machine["postgres synchronous_commit"] != "on" {
		t.Errorf("Postgres is not as safe as it must be: %v", r.Machine)
	}
}

func TestQuantile(t *testing.T) {
	var d []time.Duration
	for n := range 100 {
		d = append(d, time.Duration(100-n)*time.Millisecond)
	}
	if p50, p99 := quantile(d, 0.5), quantile(d, 0.99); p50 != 51 || p99 != 100 {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("nothing has a quantile")
	}
}

func TestRatios(t *testing.T) {
	r := Report{Results: []Result{
		{Name: "floor", CreatesPerSecond: 900, RequestsPerSecond: 900}, {Name: "ours", CreatesPerSecond: 500, RequestsPerSecond: 400},
		{Name: "plain", CreatesPerSecond: 90, RequestsPerSecond: 80}, {Name: "river", CreatesPerSecond: 125, RequestsPerSecond: 100},
		{Name: "floor", CreatesPerSecond: 1100, RequestsPerSecond: 1100}}}
	r.compare()
	for name, want := range map[string]float64{"floor, mean": 1000, "floor, spread": 0.2, "ours by the floor, requests": 0.4,
		"ours by the floor, creates": 0.5, "ours by river, requests": 4, "ours by river, creates": 4} {
		found := false
		for _, f := range r.Figures {
			found = found || f.Name == name && f.Value == want
		}
		if !found {
			t.Errorf("%s is not %v: %v", name, want, r.Figures)
		}
	}
}

func TestBarsAreXML(t *testing.T) {
	svg := string(chart.Bars("a < b", []chart.Bar{{Name: "one & all", Value: 1}, {Name: "none", Value: 0}}))
	if !strings.Contains(svg, `width="390.0"`) || !strings.Contains(svg, `width="0.0"`) {
		t.Error("the bars are not as long as they must be:", svg)
	}
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
