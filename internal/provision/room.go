package provision

import (
	"slices"
	"sync"
)

// room bounds the calls in flight. A project that has none may always have one, even
// where the others have taken all: calls that hang until their time limit must not
// keep another project from beginning.
type room struct {
	size int

	mu    sync.Mutex
	taken int
	of    map[string]int // by project
}

func newRoom(size int) *room { return &room{size: size, of: map[string]int{}} }

func (r *room) enter(project string) { r.count(project, 1) }

func (r *room) leave(project string) { r.count(project, -1) }

func (r *room) count(project string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken += n
	if r.of[project] += n; r.of[project] == 0 {
		delete(r.of, project)
	}
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
