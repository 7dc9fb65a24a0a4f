package model

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/provision/storetest"
)

const region = "aaa"

// world is one run.
type world struct {
	plan    plan
	store   *storetest.Memory
	queue   *queue
	journal *storetest.Journal
	cloud   *cloud
	began   time.Time

	mu     sync.Mutex
	rolls  map[string]uint64 // how often each dice was thrown
	counts map[string]int    // what befell
	faults []string          // broken promises
	wishes map[string]bool   // requests that people wished cancelled
	kept   map[string]bool   // whose wish was accepted
	over   bool
}

func newWorld(p plan) *world {
	w := &world{plan: p, store: storetest.NewMemory(), queue: &queue{}, journal: &storetest.Journal{}, began: time.Now(),
		rolls: map[string]uint64{}, counts: map[string]int{}, wishes: map[string]bool{}, kept: map[string]bool{}}
	w.cloud = &cloud{w: w}
	return w
}

// dice are those of one purpose; what they show depends on the seed and on how
// often they were thrown, and on nothing else.
func (w *world) dice(purpose string) *rand.Rand {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rolls[purpose]++
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(w.plan.Seed, h.Sum64()+w.rolls[purpose]))
}

func (w *world) duration(purpose string, most time.Duration) time.Duration {
	return time.Duration(w.dice(purpose).Int64N(int64(most)))
}

func (w *world) isCalm() bool { return time.Since(w.began) > calmAt }

func (w *world) tally(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

func (w *world) broken(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

func (w *world) isOver() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

func (w *world) wished(request string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wishes[request]
}

// groupOf is what tells a request apart in the bodies that reach the cloud.
func groupOf(n int) string { return fmt.Sprintf("%08d-5b63-40db-9724-dad3c4828b58", n) }

func idOf(n int) string { return fmt.Sprintf("r%d", n) }

func (w *world) prepaid(group string) bool {
	for n, r := range w.plan.Requests {
		if groupOf(n) == group {
			return r.Prepaid
		}
	}
	return false
}

func projects() []string { return []string{"p0", "p1"} }

func (w *world) message(n int, other bool) provision.Message {
	r := w.plan.Requests[n]
	b := map[string]any{
		"name": fmt.Sprintf("name-%d", r.Name), "mode": "ReplicaSet", "region": region, "availability_zone": "bbb", "password": "Test@123",
		"datastore": map[string]string{"type": "DDS-Community", "version": "4.0", "storage_engine": "wiredTiger"},
		"vpc_id":    "674e9b42-cd8d-4d25-a2e6-5abcc565b961", "subnet_id": "f1df08c5-71d1-406a-aff0-de435a51007b",
		"security_group_id": groupOf(n),
		"flavor":            []map[string]any{{"type": "replica", "num": 3, "storage": "ULTRAHIGH", "size": 30, "spec_code": "dds.mongodb.s6.medium.4.repset"}},
	}
	if !w.plan.Tags {
		b["flavor"].([]map[string]any)[0]["num"] = 1
	}
	if r.Prepaid {
		b["charge_info"] = map[string]any{"charge_mode": "prePaid", "period_type": "month", "period_num": 1, "is_auto_pay": true}
	}
	if other {
		b["availability_zone"] = "ccc"
	}
	body, err := json.Marshal(b)
	if err != nil {
		panic(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rolls["message"]++
	return provision.Message{ID: idOf(n), ProjectID: projects()[r.Project], Body: body, ReceivedAt: time.Now(), Sequence: w.rolls["message"]}
}

func (w *world) dialect() provision.Dialect {
	if w.plan.Tags {
		return provision.DialectHuawei
	}
	return provision.DialectFlexibleEngine
}

type copies struct{}

func (copies) Copy(provision.Rejection) {}

// plain seals nothing: what is kept sealed is another test's matter.
type plain struct{}

func (plain) Seal(p provision.Secret, _ string) ([]byte, error) { return []byte(p.Reveal()), nil }
func (plain) Keep(sealed string) ([]byte, error)                { return []byte(sealed), nil }
func (plain) Kept([]byte) bool                                  { return false }
func (plain) Open(sealed []byte, _ string) (provision.Secret, error) {
	return provision.NewSecret(string(sealed)), nil
}

// worker is a new worker in a process.
func (w *world) worker(p *process) *provision.Worker {
	log := slog.New(slog.DiscardHandler)
	health, policy := provision.NewHealth(log), provision.DefaultPolicy()
	served := provision.Served{Region: region, Projects: projects()}
	var budget *provision.Budget
	if w.plan.Limited {
		budget = provision.NewBudget(rows{p}, provision.Limits{Account: []provision.RateLimit{{Name: "5/1s", Calls: 5, Per: time.Second}}}, health, log)
	}
	db, cloud := rows{p}, calls{p}
	paced := provision.Paced{Cloud: cloud, Budget: budget}
	return &provision.Worker{
		Budget: budget,
		Intake: &provision.Intake{Inbox: inbox{p}, Store: db, Copies: copies{}, Sealer: plain{}, Rules: provision.Rules{Dialect: w.dialect()},
			Served: served, Batch: 10, Health: health, Log: log},
		Creator: &provision.Creator{Cloud: cloud, Budget: budget, Store: db, Sealer: plain{}, Policy: policy, Served: served, Worker: p.name,
			Installation: "i", Dialect: w.dialect(), Concurrency: 4, Health: health, Log: log},
		Reconciler: &provision.Reconciler{Cloud: paced, Budget: budget, Store: db, Policy: policy, Served: served, Worker: p.name,
			Dialect: w.dialect(), Concurrency: 4, Health: health, Log: log},
		Poller: &provision.Poller{Jobs: paced, Instances: paced, Deleter: paced, Budget: budget, Store: db, Policy: policy, Served: served,
			Worker: p.name, Batch: 20, Concurrency: 4, Health: health, Log: log},
		Relay: &provision.Relay{Store: db, Publisher: publisher{p}, Batch: 50, Timeout: 10 * time.Second, Health: health},
	}
}

// place is where a worker runs, and is started again whenever it died.
type place struct {
	mu  sync.Mutex
	now *process
}

func (pl *place) process() *process {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	return pl.now
}

func (w *world) keepAlive(pl *place, name string) {
	for life := 0; !w.isOver(); life++ {
		p := w.newProcess(fmt.Sprintf("%s.%d", name, life))
		pl.mu.Lock()
		pl.now = p
		pl.mu.Unlock()
		w.worker(p).Run(p.ctx)
		p.kill()
		time.Sleep(time.Duration(w.dice("restart").Int64N(int64(5 * time.Second))))
	}
}

// longest is how long a run may last: everything that waits has a time after which
// it ends, and a day is the longest of them.
const longest = 30 * time.Hour

// run lives through the plan, in a bubble, until all has ended.
func (w *world) run() {
	var places []*place
	var workers, people sync.WaitGroup
	for n := range w.plan.Workers {
		pl := &place{}
		places = append(places, pl)
		workers.Go(func() { w.keepAlive(pl, fmt.Sprint("w", n)) })
	}
	for n, r := range w.plan.Requests {
		people.Go(func() {
			time.Sleep(r.At)
			w.queue.publish(w.message(n, false))
		})
	}
	for _, h := range w.plan.Events {
		people.Go(func() {
			time.Sleep(time.Millisecond + h.At) // after the workers began
			w.happen(h, places)
		})
	}
	people.Wait()
	for !w.ended() && time.Since(w.began) < longest {
		time.Sleep(time.Second)
	}
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	for _, pl := range places {
		pl.process().kill()
	}
	workers.Wait()
	w.check()
}

func (w *world) happen(h happening, places []*place) {
	p := places[h.Which%len(places)].process()
	n := h.Which % len(w.plan.Requests)
	switch h.What {
	case death:
		p.doom(h.N)
		return // counted when it comes
	case pause:
		p.pause(h.For)
	case jump:
		w.store.Jump(h.For)
	case again:
		w.queue.publish(w.message(n, false))
	case another:
		w.queue.publish(w.message(n, true))
	case cancel:
		w.mu.Lock()
		w.wishes[groupOf(n)] = true
		w.mu.Unlock()
		found, _ := w.store.Cancel(context.Background(), []string{idOf(n)}, "somebody")
		w.mu.Lock()
		w.kept[groupOf(n)] = found[0].Wished && found[0].Problem() == "" || w.kept[groupOf(n)]
		w.mu.Unlock()
	case retry:
		for ok := false; !ok; { // once it has failed
			if ok, _ = w.store.Retry(context.Background(), idOf(n), []byte("Test@123"), "somebody"); !ok && w.isCalm() {
				return
			}
			time.Sleep(time.Second)
		}
		w.mu.Lock()
		delete(w.kept, groupOf(n))
		w.mu.Unlock()
		time.AfterFunc(w.duration("clean up", 5*time.Minute), func() { w.cloud.cleanUp(groupOf(n)) })
	}
	w.tally(h.What)
}
