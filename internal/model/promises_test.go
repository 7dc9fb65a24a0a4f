package model

import (
	"fmt"
	"slices"
	"strings"

	"ddsworker/internal/provision"
)

// ended reports whether nothing is open: no message, no request, no event.
func (w *world) ended() bool {
	if !w.queue.empty() {
		return false
	}
	for _, r := range w.store.Requests() {
		if !r.State.Ended() {
			return false
		}
	}
	for _, e := range w.store.Events() {
		if !e.Published {
			return false
		}
	}
	return true
}

// check asserts the promises at the end of a run.
func (w *world) check() {
	w.cloud.mu.Lock() // what happens late there is on goroutines that nobody waits for
	defer w.cloud.mu.Unlock()
	requests := map[string]bool{}
	rejected := w.store.Rejected()
	holders := map[string]string{}
	for _, r := range w.store.Requests() {
		requests[r.ID] = true
		if !r.State.Ended() {
			w.broken("lost: request %s is %s after %v: %s", r.ID, r.State, longest, r.WaitingFor)
		}
		if r.PasswordKept {
			w.broken("request %s ended %s and its password is kept", r.ID, r.State)
		}
		for _, id := range r.Instances {
			if other := holders[id]; other != "" {
				w.broken("instance %s belongs to %s and to %s", id, other, r.ID)
			}
			holders[id] = r.ID
		}
		w.checkEvents(r.ID, r.State)
	}
	for n := range w.plan.Requests {
		if id := idOf(n); !requests[id] && !slices.Contains(rejected, id) {
			w.broken("lost: nobody knows of %s", id)
		}
	}
	for _, r := range w.store.Requests() {
		w.checkInstances(r.ID, r.State, r.Instances, holders, r.Attempts, r.Error)
	}
}

func (w *world) checkInstances(id string, state provision.State, held []string, holders map[string]string, attempts int, why string) {
	var n int
	if _, err := fmt.Sscanf(id, "r%d", &n); err != nil {
		panic(err)
	}
	var live []string
	sent, harmless := 0, true
	for _, k := range w.cloud.calls {
		if k.Request == groupOf(n) {
			sent++
		}
	}
	for _, m := range w.cloud.made {
		if m.request != groupOf(n) {
			continue
		}
		harmless = harmless && !m.fails
		if !m.gone() {
			live = append(live, m.id)
		}
		if !m.gone() && holders[m.id] == "" {
			w.broken("hidden: instance %s of request %s, which ended %s, is not in the database", m.id, id, state)
		}
	}
	if len(live) > 1 {
		w.broken("twice: request %s has the instances %v", id, live)
	}
	if sent > attempts {
		w.broken("hidden: %d calls for request %s, %d attempts in the database", sent, id, attempts)
	}
	switch state {
	case provision.Ready:
		if len(live) != 1 || !slices.Contains(held, live[0]) {
			w.broken("request %s is ready with %v, and alive are %v", id, held, live)
		}
		if w.kept[groupOf(n)] {
			w.broken("request %s was to be cancelled and is ready", id)
		}
	case provision.Cancelled:
		if len(live) > 0 {
			w.broken("request %s is cancelled, and alive are %v", id, live)
		}
	case provision.Failed:
		if why == "" {
			w.broken("request %s failed and does not say why", id)
		}
		if w.plan.Tags && w.plan.Permanent == 0 && harmless && !w.prepaid(groupOf(n)) && !w.wished(groupOf(n)) {
			w.broken("request %s failed for no reason of its own: %s", id, why)
		}
	}
}

// checkEvents asserts that the stream has each event of a request once, in order,
// and that each step is one of the state machine.
func (w *world) checkEvents(id string, state provision.State) {
	var known, told []int64
	at := provision.State("")
	for _, e := range w.store.Events() {
		if e.RequestID != id {
			continue
		}
		known = append(known, e.ID)
		switch {
		case e.Concerns != 0: // a refusal of another message
			continue
		case at == "" && e.State != provision.Pending:
			w.broken("the first event of %s is %s", id, e.State)
		case at != "" && e.State != at && !provision.CanGo(at, e.State):
			w.broken("request %s went from %s to %s", id, at, e.State)
		case e.State == at && at.Ended():
			w.broken("request %s ended %s twice", id, at)
		}
		at = e.State
	}
	if at != state {
		w.broken("the last event of %s says %s, the row %s", id, at, state)
	}
	for _, e := range w.journal.Events {
		if e.RequestID == id {
			told = append(told, e.ID)
		}
	}
	if fmt.Sprint(told) != fmt.Sprint(known) {
		w.broken("events of %s: the stream has %v, the database %v", id, told, known)
	}
}

// history is what the database and the cloud know, for a run that broke a promise.
func (w *world) history() string {
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "began %s\n", clock(w.began))
	for _, h := range w.plan.Events {
		fmt.Fprintln(&b, "  plan", h)
	}
	for _, r := range w.store.Requests() {
		fmt.Fprintf(&b, "request %+v\n", r)
		for _, e := range w.store.Events() {
			if e.RequestID == r.ID {
				fmt.Fprintf(&b, "  %s %d %s %s %s %v\n", clock(e.At), e.ID, e.Kind, e.State, e.InstanceID, e.Error)
			}
		}
		var n int
		_, _ = fmt.Sscanf(r.ID, "r%d", &n)
		for _, k := range w.cloud.calls {
			if k.Request == groupOf(n) {
				fmt.Fprintf(&b, "  call at %s, deadline %s, proven %v, instance %v\n", clock(k.at), clock(k.deadline), k.proven, k.instance != nil)
			}
		}
		for _, m := range w.cloud.made {
			if m.request == groupOf(n) {
				fmt.Fprintf(&b, "  instance %s mark %s: created %s, visible %s, built %s, fails %v, gone %v\n", m.id, m.mark, clock(m.created), clock(m.visible), clock(m.built), m.fails, m.gone())
			}
		}
	}
	return b.String()
}
