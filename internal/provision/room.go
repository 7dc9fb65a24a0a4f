package provision

import (
	"slices"
	"sync"
)

// room bounds the calls in flight. A project that has none may always have one, even
// where the others have taken all: calls that hang until their time limit must not
// keep another project from beginning.
type room struct {
	size   int
	enough int    // so many free places are worth a statement
	roomy  *latch // while so many are free

	mu    sync.Mutex
	taken int
	of    map[string]int // by project
}

// crowded is the share of a room that a claim waits for to be free: a statement for
// one row costs as much as one for thirty.
const crowded = 4

func newRoom(size int) *room {
	r := &room{size: size, enough: max(1, size/crowded), roomy: newLatch(), of: map[string]int{}}
	r.roomy.set(true)
	return r
}

func (r *room) enter(project string) { r.count(project, 1) }

// leave tells how many more there is room for now.
func (r *room) leave(project string) (free int) { return r.count(project, -1) }

func (r *room) count(project string, n int) (free int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken += n
	r.roomy.set(r.size-r.taken >= r.enough)
	if r.of[project] += n; r.of[project] == 0 {
		delete(r.of, project)
	}
	return r.size - r.taken
}

// without leaves out the projects that have something in flight.
func (r *room) without(projects []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(projects), func(project string) bool { return r.of[project] > 0 })
}

// free is how many more there is room for, whatever their project.
func (r *room) free() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, r.size-r.taken)
}

// most returns how many may enter, and lowers what may of each project where that
// is less. Only one goroutine may let in what it is told.
func (r *room) most(projects []string, most map[string]int) (limit int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if free := r.size - r.taken; free > 0 {
		return free
	}
	for _, project := range projects {
		n, bounded := most[project]
		switch {
		case r.of[project] > 0:
			most[project] = 0
		case !bounded || n > 0:
			most[project] = 1
			limit++
		}
	}
	return limit
}
