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
	top   int            // nothing wanted stands above this place, while there are no marks
	pace  listPace
	// barren is how many rounds in a row found nothing where it should be; guessed, that
	// a guess was made since something was found.
	barren  int
	guessed bool
	failing int // rounds in a row in which a page could not be read
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
		return min(place, m.pace.total) // some below it may have been deleted since
	}
	if len(m.marks) == 0 {
		return m.top
	}
	at, _ := slices.BinarySearchFunc(m.marks, w.created, func(k listMark, t time.Time) int { return k.created.Compare(t) })
	before, after := m.marks[max(0, at-1)], m.marks[min(at, len(m.marks)-1)]
	switch at {
	case 0: // older than all of them
		after = m.marks[len(m.marks)-1]
	case len(m.marks): // newer: the newest of all stands at the front
		after = listMark{m.pace.at, max(m.pace.total, before.place)}
	}
	share := 0.0
	if span := after.created.Sub(before.created); span > 0 {
		share = float64(w.created.Sub(before.created)) / float64(span)
	}
	return min(max(before.place+int(share*float64(after.place-before.place)), 1), m.pace.total)
}

// learn takes the places of instances whose age is known, as a page showed them.
// Places between the oldest and the newest of them that were remembered are forgotten,
// and so is what is older than horizon.
func (m *listMap) learn(found []listMark, horizon time.Time) {
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
	low   int // the place of its last item
	wants int // instances that it is expected to tell about
}

// front is the page from which on the list is searched, while it is not known where
// anything stands.
func (m *listMap) front() listPage { return listPage{low: m.top - pageSize + 1} }

// plan returns the pages that are expected to tell about more than a few of the
// wanted ones, those of the oldest first, and the wanted ones beside them. What should
// have been on a page that was read is in neither.
func (m *listMap) plan(wanted []wantedItem, read []listSpan) (pages []listPage, rest []wantedItem) {
	items, margin, worth := m.stand(wanted, read), m.pace.margin(), few
	if m.pace.moves() {
		worth = fewMoving
	}
	for n := 0; n < len(items); {
		low, end := max(below(items[n].place-margin, margin, read), 1), n
		for end < len(items) && items[end].place < low+pageSize-margin {
			end++
		}
		if end-n > worth {
			pages = append(pages, listPage{low: low, wants: end - n})
		} else {
			rest = append(rest, items[n].wantedItem)
			end = n + 1
		}
		n = end
	}
	return pages, rest
}

// standing is a wanted instance, and where it is expected.
type standing struct {
	wantedItem
	place int
}

// stand returns what may still be seen in the order of the list, the oldest first.
func (m *listMap) stand(wanted []wantedItem, read []listSpan) []standing {
	all := make([]standing, len(wanted))
	for n, w := range wanted {
		all[n] = standing{w, m.place(w)}
	}
	slices.SortFunc(all, func(a, b standing) int {
		return cmp.Or(cmp.Compare(a.place, b.place), a.created.Compare(b.created), cmp.Compare(a.id, b.id))
	})
	items, last, margin := all[:0], 0, m.pace.margin()
	for _, i := range all {
		at := max(i.place, last+1) // no two stand in one place
		var ok bool
		if i.place, ok = beside(at, margin, read); ok && i.place <= max(m.pace.total, at) {
			items, last = append(items, i), max(last, i.place)
		}
	}
	slices.SortStableFunc(items, func(a, b standing) int { return cmp.Compare(a.place, b.place) })
	return items
}

// fewMoving is few for a list that moves fast: places in it are less sure.
const fewMoving = pageSize / 10

// lost tells whether places turned out to be wrong, or none are known.
func (m *listMap) lost() bool { return len(m.marks) == 0 || m.barren >= mostBarren }

// forget drops what is known: the list is searched from its front.
func (m *listMap) forget() { m.marks, m.top, m.barren = nil, m.pace.total, 0 }

// guess takes it that hardly anything but what is wanted was created since the oldest of
// it, and at the same rate. One page shows whether that is so.
func (m *listMap) guess(wanted []wantedItem) {
	oldest, newest := wanted[0].created, wanted[0].created
	for _, w := range wanted {
		if w.created.Before(oldest) {
			oldest = w.created
		}
		if w.created.After(newest) {
			newest = w.created
		}
	}
	span := max(newest.Sub(oldest), time.Millisecond).Seconds()
	since := float64(len(wanted)) / span * m.pace.at.Sub(oldest).Seconds()
	m.marks = []listMark{{oldest, max(m.pace.total-int(min(since, float64(m.pace.total))), 1)}}
	m.barren, m.guessed = mostBarren-1, true
}

// mostBarren is how many rounds in a row find nothing where something should be before
// the list is searched from its front.
const mostBarren = 3

// saw remembers where an instance stands, until it has ended.
func (m *listMap) saw(id string, place int, ended bool) {
	if ended {
		delete(m.exact, id)
		return
	}
	if m.exact == nil || len(m.exact) >= maxExact { // most have ended, which no page showed
		m.exact = map[string]int{}
	}
	m.exact[id] = place
}
