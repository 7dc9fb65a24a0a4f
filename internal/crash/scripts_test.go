package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"time"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

// script is a life of requests that the tests end again and again.
type script struct {
	name string
	// in tells the dialects that have it; nil: all.
	in func(provision.Dialect) bool
	// fresh is a project in which no mark was seen yet.
	fresh bool
	// apart has nothing claimed in the statement that takes it in.
	apart bool
	// config changes the cloud and policy the worker; cloud tells the cloud what to
	// answer, before all begins.
	config func(*ddsfake.Config)
	policy func(*provision.Policy)
	cloud  func(*world)
	// messages are what is published; nil: one plain request.
	messages func(*world) []provision.Message
	// people is what people do between two turns; during is what
	// they do while the first create call is under way.
	people func(*world)
	during func(*world)
	// audits goes rounds of the audit at the end.
	audits bool
	// want is how requests may end, however often a worker dies.
	want []provision.State
}

var (
	ready         = []provision.State{provision.Ready}
	failed        = []provision.State{provision.Failed}
	cancelled     = []provision.State{provision.Cancelled}
	readyOrFailed = []provision.State{provision.Ready, provision.Failed}

	cancelledOrReady = []provision.State{provision.Cancelled, provision.Ready}
)

func scripts(d provision.Dialect) (out []script) {
	for _, s := range allScripts() {
		if *only != "" && s.name != *only {
			continue
		}
		if s.in == nil || s.in(d) {
			out = append(out, s)
		}
	}
	return out
}

func allScripts() []script {
	return []script{
		{name: "plain", want: ready},
		{name: "claimed when it is due", apart: true, want: ready},
		{name: "first of a project", fresh: true, want: ready},
		{name: "lost, executed", cloud: answers(ddsfake.DropAfter), want: ready},
		{name: "lost, not executed", cloud: answers(ddsfake.DropBefore), want: ready},
		{name: "lost, executed, listed late", cloud: answers(ddsfake.DropAfter), want: ready,
			config: func(c *ddsfake.Config) { c.ListLag = 3 * time.Second }},
		{name: "500, executed", cloud: answers(ddsfake.ServerErrorAfter), want: ready},
		{name: "hangs, executed", cloud: answers(ddsfake.HangAfter), want: ready},
		{name: "no id", cloud: answers(ddsfake.NoID), want: ready},
		{name: "busy, executed", cloud: answers(ddsfake.BusyAfter), want: ready},
		{name: "busy, not executed", cloud: answers(ddsfake.BusyBefore), want: ready},
		{name: "throttled", cloud: answers(ddsfake.Throttled), want: ready},
		{name: "throttled for ever", want: failed, policy: hurried,
			config: func(c *ddsfake.Config) { c.Faults = ddsfake.Faults{ddsfake.OpCreate: {ddsfake.TooMany: 1}} }},
		{name: "token refused", cloud: revoke, want: ready},
		{name: "arrears", want: failed,
			config: func(c *ddsfake.Config) { c.Faults = ddsfake.Faults{ddsfake.OpCreate: {ddsfake.Arrears: 1}} }},
		{name: "job fails", cloud: answers(ddsfake.JobFails), want: failed},
		{name: "job never ends", want: failed, policy: func(p *provision.Policy) { p.BuildDeadline = 3 * time.Second },
			config: func(c *ddsfake.Config) { c.JobMin, c.JobMax = time.Hour, time.Hour }},
		// What cannot be told from ours blocks a call until the deadline.
		{name: "namesake of somebody else", cloud: foreign, want: readyOrFailed, policy: hurried},
		{name: "namesake, and lost", want: readyOrFailed, policy: hurried,
			cloud: func(w *world) { foreign(w); answers(ddsfake.DropBefore)(w) }},
		{name: "published twice", messages: twice, want: ready},
		{name: "two of a name", messages: namesakes, want: readyOrFailed},
		{name: "never acceptable", messages: unacceptable},
		{name: "cancelled while pending", apart: true, people: cancelIn(provision.Pending), want: cancelled},
		{name: "cancelled while called", during: (*world).cancel, want: cancelled},
		{name: "cancelled while refused", during: (*world).cancel, cloud: answers(ddsfake.Throttled), want: cancelled},
		{name: "cancelled while lost, executed", people: cancelIn(provision.Creating), cloud: answers(ddsfake.DropAfter), want: cancelledOrReady},
		{name: "cancelled while lost", people: cancelIn(provision.Creating), cloud: answers(ddsfake.DropBefore), want: cancelledOrReady},
		{name: "cancelled while built", people: cancelIn(provision.Building), want: cancelledOrReady},
		{name: "deletion unanswered", people: cancelIn(provision.Building), want: cancelledOrReady,
			cloud: func(w *world) { w.must(w.cloud.Script(ddsfake.OpDelete, ddsfake.Answer{Kind: ddsfake.DropAfter})) }},
		{name: "deletion busy", people: cancelIn(provision.Building), want: cancelledOrReady,
			cloud: func(w *world) { w.must(w.cloud.Script(ddsfake.OpDelete, ddsfake.Answer{Kind: ddsfake.BusyBefore})) }},
		{name: "retried after arrears", people: (*world).retry, cloud: answers(ddsfake.Arrears), want: ready},
		{name: "retried after a failed job", people: (*world).retry, cloud: answers(ddsfake.JobFails), want: ready},
		{name: "retried and cancelled", cloud: answers(ddsfake.JobFails), want: cancelled,
			people: func(w *world) {
				if w.retry(); w.retried {
					w.cancel()
				}
			}},
		{name: "late beyond all margins", audits: true, cloud: lateBeyondMargins, in: provision.Dialect.TakesTags, want: ready},
		{name: "prepaid, cancelled", messages: prepaid, in: sellsAhead, people: cancelIn(provision.Building), want: readyOrFailed},
		{name: "prepaid", messages: prepaid, in: sellsAhead, want: readyOrFailed},
		{name: "prepaid, lost", messages: prepaid, in: sellsAhead, cloud: answers(ddsfake.DropAfter), want: readyOrFailed},
	}
}

// nameless are the dialects in which a call carries no mark, and names are unique.
func nameless(d provision.Dialect) bool { return !d.TakesTags() }

func sellsAhead(d provision.Dialect) bool {
	return d == provision.DialectHuawei || d == provision.DialectUnion
}

func hurried(p *provision.Policy) { p.CreateDeadline = 20 * time.Second }

// answers makes the first create calls go wrong.
func answers(kinds ...ddsfake.Kind) func(*world) {
	return func(w *world) {
		for _, kind := range kinds {
			w.must(w.cloud.Script(ddsfake.OpCreate, ddsfake.Answer{Kind: kind}))
		}
	}
}

// revoke makes the first call find its token refused.
func revoke(w *world) {
	_, err := w.tokens.Token(w.t.Context(), w.project)
	w.must(err)
	w.cloud.RevokeTokens(ddsfake.RevokeService)
}

// foreign makes an instance of the first request's name that is not ours.
func foreign(w *world) {
	created, err := w.client.CreateInstance(w.t.Context(), w.project, body(w.dialect, w.name(0), nil))
	w.must(err)
	w.foreign[created.InstanceID] = true
}

// cancelIn cancels the first request once it is in a state.
func cancelIn(state provision.State) func(*world) {
	return func(w *world) {
		if w.requests()[w.name(0)].State == string(state) {
			w.cancel()
		}
	}
}

// cancel cancels the first request, once.
func (w *world) cancel() {
	if w.wished {
		return
	}
	w.setClock()
	found, err := w.db.Cancel(context.Background(), []string{w.name(0)}, "somebody")
	w.must(err)
	w.wished = found[0].Problem() == ""
}

// retry retries the first request once it has failed, and deletes what it made, as
// its failure asks for.
func (w *world) retry() {
	r := w.requests()[w.name(0)]
	if w.retried || r.State != string(provision.Failed) {
		return
	}
	w.setClock()
	ok, err := w.db.Retry(context.Background(), r.ID, []byte("Test@123"), "somebody")
	w.must(err)
	if w.retried = ok; ok && r.Instance != nil {
		_, _, err = w.client.DeleteInstance(context.Background(), w.project, *r.Instance)
		w.must(err)
	}
}

func (w *world) name(n int) string { return fmt.Sprintf("%s-%d", w.project, n) }

func (w *world) message(id, name string, more map[string]any) provision.Message {
	hash := fnv.New32a()
	hash.Write([]byte(id))
	all := map[string]any{"security_group_id": fmt.Sprintf("%08x-5b63-40db-9724-dad3c4828b58", hash.Sum32())}
	maps.Copy(all, more)
	return provision.Message{ID: id, Body: body(w.dialect, name, all)}
}

// published are the messages of a run.
func (w *world) published() []provision.Message {
	if w.script.messages != nil {
		return w.script.messages(w)
	}
	return []provision.Message{w.message(w.name(0), w.name(0), nil)}
}

func twice(w *world) []provision.Message {
	m := w.message(w.name(0), w.name(0), nil)
	return []provision.Message{m, m, w.message(w.name(0), "another", nil), m}
}

func namesakes(w *world) []provision.Message {
	return []provision.Message{w.message(w.name(0), w.name(0), nil), w.message(w.name(1), w.name(0), nil)}
}

func unacceptable(w *world) []provision.Message {
	return []provision.Message{w.message(w.name(0), "!", nil), {ID: w.name(1), Body: []byte("no JSON")}}
}

func prepaid(w *world) []provision.Message {
	return []provision.Message{w.message(w.name(0), w.name(0), map[string]any{"charge_info": map[string]any{
		"charge_mode": "prePaid", "period_type": "month", "period_num": 1, "is_auto_pay": true}})}
}

// body is a replica set as each dialect takes it.
func body(d provision.Dialect, name string, more map[string]any) []byte {
	num := 3
	if nameless(d) {
		num = 1
	}
	b := map[string]any{
		"name": name, "mode": "ReplicaSet", "region": region, "availability_zone": "bbb", "password": "Test@123",
		"datastore": map[string]string{"type": "DDS-Community", "version": "4.0", "storage_engine": "wiredTiger"},
		"vpc_id":    "674e9b42-cd8d-4d25-a2e6-5abcc565b961", "subnet_id": "f1df08c5-71d1-406a-aff0-de435a51007b",
		"security_group_id": "7aa51dbf-5b63-40db-9724-dad3c4828b58",
		"flavor":            []map[string]any{{"type": "replica", "num": num, "storage": "ULTRAHIGH", "size": 30, "spec_code": "dds.mongodb.s6.medium.4.repset"}},
	}
	maps.Copy(b, more)
	text, err := json.Marshal(b)
	if err != nil {
		panic(err)
	}
	return text
}
