package storetest

import (
	"sync"

	"ddsworker/internal/provision"
)

// Journal is a stream of events in memory.
type Journal struct {
	mu     sync.Mutex
	Events []provision.Event // by sequence, from 1; read it when nobody publishes
}

// Publish appends events behind the one at a place, or tells what is there instead.
func (j *Journal) Publish(after uint64, events []provision.Event) provision.Published {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := provision.Published{After: after}
	if after == uint64(len(j.Events)) {
		j.Events = append(j.Events, events...)
	}
	for _, e := range j.Events[min(after, uint64(len(j.Events))):] {
		out.IDs = append(out.IDs, e.ID)
	}
	out.Last = uint64(len(j.Events))
	return out
}
