package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"ddsworker/internal/dds/ddsfake"
)

// prune needs the database alone and tells what it did, while a worker works; what is published again
// afterwards is known.
func TestPrune(t *testing.T) {
	f := newFleet(t, ddsfake.Config{JobMin: 100 * time.Millisecond, JobLag: -1, SettleLag: -1})
	for _, args := range [][]string{{"prune"}, {"prune", "--older-than", "soon"}, {"prune", "--older-than", "5m"}, {"prune", "--older-than", "1d"}} {
		if code, output := build(t).run(args...); code != 2 || strings.Contains(output, "OS_USERNAME") {
			t.Errorf("%v: %d, %s", args, code, output)
		}
	}
	p := *f.program
	p.settings = nil
	for _, s := range f.program.settings {
		if name, _, _ := strings.Cut(s, "="); name == "DATABASE_URL" || name == "HOME" {
			p.settings = append(p.settings, s)
		}
	}
	publish := func(ids ...string) {
		for _, id := range ids {
			f.request["name"] = "name-" + id
			body, err := json.Marshal(f.request)
			if err == nil {
				_, err = f.js.PublishMsg(t.Context(), &nats.Msg{Subject: "dds.requests", Header: nats.Header{"Nats-Msg-Id": {id}}, Data: body})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	publish("a", "b", "c")
	f.start(1)
	f.eventually("all of them to be ready and told", time.Minute, func() bool {
		return f.count(`select count(*) from requests where state = 'ready'`) == 3 && f.count(`select count(*) from outbox`) == 0
	})
	for _, sql := range []string{`update requests set finished_at = finished_at - interval '2 days'`, `update events set at = at - interval '2 days'`} {
		if _, err := f.db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if code, output := p.run("prune", "--older-than", "3d"); code != 0 || !strings.Contains(output, "0 requests and 0 rejections pruned") {
		t.Errorf("%d, %s", code, output)
	}
	// The newest event stays, and its request with it.
	if code, output := p.run("prune", "--older-than", "1d"); code != 0 || !strings.Contains(output, "2 requests and 0 rejections pruned") {
		t.Errorf("%d, %s", code, output)
	}
	if n := f.count(`select count(*) from pruned_requests`) + f.count(`select count(*) from requests`); n != 3 {
		t.Errorf("%d ids are known, want 3", n)
	}
	executed := f.cloud.Stats().CreatesExecuted
	publish("a", "b", "c", "d")
	f.eventually("the one that is new to be ready", time.Minute, func() bool {
		return f.count(`select count(*) from requests where state = 'ready'`) == 2
	})
	f.stop()
	if n := f.cloud.Stats().CreatesExecuted; n != executed+1 {
		t.Errorf("%d creates after a new request and three that are known", n-executed)
	}
}
