package ddsfake

import (
	"strings"
	"testing"
	"time"
)

func TestConfigErrorsNameTheField(t *testing.T) {
	for want, cfg := range map[string]Config{
		"dialect":        {Dialect: "aws"},
		"unknown id":     {UnknownID: "maybe"},
		"IAM errors":     {IAMErrors: "both"},
		"user 1":         {Users: []User{{Name: "n"}}},
		"project id":     {Projects: map[string]string{"a/b": "n"}},
		"quota mode":     {Quota: map[string]int{"Cluster": 1}},
		"token life":     {TokenLife: -1},
		"job min":        {JobMin: -1},
		"less than":      {JobMin: time.Hour, JobMax: time.Minute},
		"speed":          {Speed: -1},
		"slow jobs 2":    {SlowJobs: 2, SlowJobMax: time.Hour},
		"slow jobs 0.5":  {SlowJobs: 0.5, SlowJobMax: time.Minute},
		"throttle":       {Throttle: -1},
		"not one of the": {Faults: Faults{"x": nil}},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that names %s", err, want)
		}
	}
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("the zero Config: %v", err)
	}
}

func TestCodesTable(t *testing.T) {
	table := readCodes()
	if len(table) < 215 {
		t.Fatalf("only %d codes were read", len(table))
	}
	for code, row := range table {
		if row.status2020 < 400 || row.status2026 < 400 || row.message == "" || !strings.Contains(code, ".") {
			t.Errorf("%q is %+v", code, row)
		}
	}
	// The status of this one changed with the edition.
	for dialect, status := range map[string]int{Huawei: 403, Huawei2020: 400} {
		c := newCaller(t, Config{Dialect: dialect})
		c.script(OpList, Answer{Code: "DBS.200604"})
		c.send("GET", c.path("/instances"), nil).want(status, "DBS.200604")
	}
}
