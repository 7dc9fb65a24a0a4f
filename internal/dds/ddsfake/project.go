package ddsfake

import (
	"slices"
	"sync"
	"time"
)

// project holds what exists in one project. Everything in it is guarded by mu; an instance changes
// after its creation only by its deletion and by what people do at the console.
type project struct {
	id, name string

	mu     sync.RWMutex
	all    []*instance // oldest first; holds deleted ones until compact
	byID   map[string]*instance
	byName map[string][]*instance
	byMode map[string][]*instance
	buried []*instance // deleted and compacted away; shown to the tester only
	doomed int         // deletions begun since the last compaction
	tasks  []*job      // oldest first
	byTask map[string]*job
}

func newProject(id, name string) *project {
	return &project{id: id, name: name, byID: map[string]*instance{}, byName: map[string][]*instance{}, byMode: map[string][]*instance{}, byTask: map[string]*job{}}
}

func (p *project) add(i *instance) {
	created := func(i *instance) time.Time { return i.created }
	p.all = insert(p.all, i, created)
	p.byID[i.id] = i
	p.byName[i.body.Name] = insert(p.byName[i.body.Name], i, created)
	p.byMode[i.body.Mode] = insert(p.byMode[i.body.Mode], i, created)
}

// insert keeps a list in the order of time. A call that executes late is created in the future, so the newest is not always the last.
func insert[T any](list []T, item T, created func(T) time.Time) []T {
	at := len(list)
	for at > 0 && created(list[at-1]).After(created(item)) {
		at--
	}
	return slices.Insert(list, at, item)
}

// addTask remembers a job and forgets those created up to the given time.
func (p *project) addTask(j *job, forget time.Time) {
	stale := 0
	for stale < len(p.tasks) && !p.tasks[stale].created.After(forget) {
		delete(p.byTask, p.tasks[stale].id)
		p.tasks[stale] = nil
		stale++
	}
	p.tasks = insert(p.tasks[stale:], j, func(j *job) time.Time { return j.created })
	p.byTask[j.id] = j
}

// named returns the instances of that exact name which exist.
func (p *project) named(name string, now time.Time) []*instance {
	var live []*instance
	for _, i := range p.byName[name] {
		if !i.gone(now) {
			live = append(live, i)
		}
	}
	return live
}

// compact takes deleted instances out of the indexes once they are many, so that its cost is spread over the deletions.
func (p *project) compact(now time.Time) {
	if p.doomed < 64 || p.doomed < len(p.all)/4 {
		return
	}
	gone := func(i *instance) bool { return i.gone(now) }
	for _, i := range p.all {
		if !gone(i) {
			continue
		}
		p.buried = append(p.buried, i)
		delete(p.byID, i.id)
		p.byName[i.body.Name] = slices.DeleteFunc(p.byName[i.body.Name], gone)
		if len(p.byName[i.body.Name]) == 0 {
			delete(p.byName, i.body.Name)
		}
	}
	p.all = slices.DeleteFunc(p.all, gone)
	for mode, all := range p.byMode {
		p.byMode[mode] = slices.DeleteFunc(all, gone)
	}
	p.doomed = 0
}

// count returns how many instances of a mode exist.
func (p *project) count(mode string, now time.Time) int {
	n := 0
	for _, i := range p.byMode[mode] {
		if !i.gone(now) {
			n++
		}
	}
	return n
}
