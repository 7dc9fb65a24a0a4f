package provision

import (
	"cmp"
	"slices"
	"time"
)

// This file decides which pages of the instance list are worth reading: pure
// functions, no I/O.

// wantedItem is an instance that a list is to tell about.
type wantedItem struct {
	id      string
	created time.Time // by our clock: only good for comparing with its like
}

// listMap remembers where in a list, newest first, instances of an age stand. Places
// are counted from the list's end, the oldest, so that new ones do not move them.
type listMap struct {
	exact map[string]int // places of instances that are still being built, as a page showed them
	marks []listMark     // in the order of creation, oldest first
	total int            // of the list, as of the last page
	top   int            // nothing wanted stands above this place, while there are no marks
}

type listMark struct {
	created time.Time
	place   int // from the end of the list
}

// markEvery is how many instances of a page are remembered: this one in so many.
const markEvery = 8

// maxExact bounds the instances whose place is remembered.
const maxExact = 100_000

// place is where an instance was seen, or else where those of its age stand: between
// the nearest ones that are known, or beyond them as densely.
func (m *listMap) place(w wantedItem) int {
	if place, ok := m.exact[w.id]; ok {
		return place
	}
	if len(m.marks) == 0 {
		return m.top
	}
	at, _ := slices.BinarySearchFunc(m.marks, w.created, func(k listMark, t time.Time) int { return k.created.Compare(t) })
	before, after := m.marks[max(0, at-1)], m.marks[min(at, len(m.marks)-1)]
	if at == 0 || at == len(m.marks) { // beyond all of them
		before, after = m.marks[0], m.marks[len(m.marks)-1]
	}
	share := 0.0
	if span := after.created.Sub(before.created); span > 0 {
		share = float64(w.created.Sub(before.created)) / float64(span)
	}
	return min(max(before.place+int(share*float64(after.place-before.place)), 1), m.total)
}

// learn takes what a page showed: the places of instances whose age is known. Places
// between the oldest and the newest of them that were remembered are forgotten, and
// so is what is older than horizon.
func (m *listMap) learn(found []listMark, total int, horizon time.Time) {
	if len(m.marks) == 0 {
		m.top += total - m.total // what is new stands above
	}
	m.total = total
	if len(found) == 0 {
		return
	}
	slices.SortFunc(found, func(a, b listMark) int { return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.place, b.place)) })
	oldest, newest := found[0].created, found[len(found)-1].created
	m.marks = slices.DeleteFunc(m.marks, func(k listMark) bool {
		return !k.created.Before(oldest) && !k.created.After(newest) || k.created.Before(horizon)
	})
	at, _ := slices.BinarySearchFunc(m.marks, oldest, func(k listMark, t time.Time) int { return k.created.Compare(t) })
	kept := make([]listMark, 0, len(found)/markEvery+2)
	for n, k := range found {
		if n%markEvery == 0 || n == len(found)-1 {
			kept = append(kept, k)
		}
	}
	m.marks = slices.Insert(m.marks, at, kept...)
	m.straighten(at, at+len(kept))
}

// straighten forgets places around new ones that contradict them: something was
// deleted since, or they were wrong.
func (m *listMap) straighten(from, to int) {
	for from > 0 && m.marks[from-1].place > m.marks[from].place {
		m.marks = slices.Delete(m.marks, from-1, from)
		from, to = from-1, to-1
	}
	for to < len(m.marks) && m.marks[to].place < m.marks[to-1].place {
		m.marks = slices.Delete(m.marks, to, to+1)
	}
}

// listPage is a page that is worth reading.
type listPage struct {
	offset int
	wants  int // instances that it is expected to tell about; or told
}

// margin is how far an estimate may be off without missing the page.
const margin = 3

// plan returns the pages that are expected to tell about more than a few of the
// wanted ones, and the wanted ones beside them.
func (m *listMap) plan(wanted []wantedItem) (pages []listPage, rest []wantedItem) {
	type placed struct {
		wantedItem
		place int
	}
	items := make([]placed, len(wanted))
	for n, w := range wanted {
		items[n] = placed{w, m.place(w)}
	}
	slices.SortFunc(items, func(a, b placed) int { // newest first, as in the list
		return cmp.Or(cmp.Compare(b.place, a.place), b.created.Compare(a.created), cmp.Compare(a.id, b.id))
	})
	for n := 1; n < len(items); n++ { // no two stand in one place
		items[n].place = min(items[n].place, items[n-1].place-1)
	}
	for n := 0; n < len(items); {
		end := n
		for end < len(items) && items[end].place > items[n].place-pageSize+2*margin {
			end++
		}
		if end-n > few {
			pages = append(pages, listPage{offset: max(0, m.total-items[n].place-margin), wants: end - n})
		} else {
			rest = append(rest, items[n].wantedItem)
			end = n + 1
		}
		n = end
	}
	return pages, rest
}

// forget drops places that turned out to be wrong: the list is searched from its
// front.
func (m *listMap) forget() { m.marks, m.top = nil, m.total }

// barren notes that a page from offset on showed nothing that was wanted.
func (m *listMap) barren(offset, items int) {
	if place := m.total - offset - items; len(m.marks) == 0 && place < m.top && m.total-offset >= m.top {
		m.top = max(place, 0)
	}
}

// saw remembers where an instance stands, until it has ended.
func (m *listMap) saw(id string, place int, ended bool) {
	switch {
	case ended:
		delete(m.exact, id)
	case len(m.exact) < maxExact:
		if m.exact == nil {
			m.exact = map[string]int{}
		}
		m.exact[id] = place
	}
}
