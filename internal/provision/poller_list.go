package provision

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// readInstancePages reads the pages of the instance list that are expected to tell
// about more than a few of what is still to be read.
func (r *reading) readInstancePages() {
	open, byID := []*watched{}, map[string]*watched{}
	for _, l := range r.watching {
		if !l.done {
			open = append(open, l)
			byID[l.claim.InstanceID] = l
		}
	}
	for mode, wanted := range r.byMode(open) {
		if len(wanted) <= few {
			continue
		}
		slices.SortFunc(wanted, func(a, b wantedItem) int { return a.created.Compare(b.created) }) // so every plan finds them all but sorted
		m := r.project.lists[mode]
		if m == nil {
			m = &listMap{}
			r.project.lists[mode] = m
		}
		l := &listing{r: r, m: m, mode: mode, left: wanted, byID: byID, horizon: r.began.Add(-2 * r.p.Policy.BuildDeadline)}
		l.want = make(map[string]bool, len(wanted))
		for _, w := range wanted {
			l.want[w.id] = true
		}
		l.run()
	}
}

// listing reads a list, of one mode, for one round.
type listing struct {
	r       *reading
	m       *listMap
	mode    string
	byID    map[string]*watched
	want    map[string]bool // true: it was not seen yet
	horizon time.Time       // what was created before is remembered no more
	left    []wantedItem    // not seen yet, before the pages that are being read

	mu     sync.Mutex // pages come side by side
	read   []listSpan // what they showed, the oldest first
	found  int
	failed error
}

// run reads the pages that are worth it: one after the other where the list moves fast,
// and else side by side, but for the first one, which tells how far it has moved.
func (l *listing) run() {
	if len(l.m.marks) == 0 && l.m.top < 1 {
		l.m.forget()
	}
	for l.failed == nil {
		pages := l.next()
		if len(pages) == 0 {
			l.end()
			return
		}
		inParallel(pages, l.r.parallel, l.readPage)
		left := l.left[:0]
		for _, w := range l.left {
			if l.want[w.id] = l.byID[w.id].poll.Instance == nil; l.want[w.id] {
				left = append(left, w)
			}
		}
		l.left = left
		l.r.tell()
	}
	l.fail()
}

// mostAlone is how many instances are read one by one where pages fail.
const mostAlone = 20

// fail puts off what is left after a page could not be read. If that goes on, the fault
// may lie in one item of a page: some are read by their ids then, so that all have
// their turn.
func (l *listing) fail() {
	if !errors.Is(l.failed, errNotReached) {
		l.m.failing++
	}
	if l.m.failing > 1 {
		rand.Shuffle(len(l.left), func(i, j int) { l.left[i], l.left[j] = l.left[j], l.left[i] })
		l.left = l.left[min(len(l.left), mostAlone):]
	}
	for _, w := range l.left {
		l.byID[w.id].poll.Err, l.byID[w.id].done = l.failed, true
	}
}

// mostFollowed is how many pages are read in search of what is wanted, beside those that
// should tell of it.
const mostFollowed = 20

// next returns the pages to read now.
func (l *listing) next() []listPage {
	if len(l.left) == 0 || len(l.read) > 2*len(l.want)/pageSize+mostFollowed {
		return nil
	}
	switch {
	case !l.m.lost():
	case len(l.m.marks) > 0:
		l.m.forget()
	case !l.m.guessed && len(l.read) > 0:
		l.m.guess(l.left)
	}
	if !l.m.lost() {
		pages, _ := l.m.plan(l.left, l.read)
		if len(l.read) == 0 || l.m.pace.moves() {
			pages = pages[:min(len(pages), 1)]
		}
		return pages
	}
	if len(l.read) > 0 && l.m.top < 1 {
		return nil // all of the list was read
	}
	return []listPage{l.m.front()}
}

// readPage reads one page and takes what it tells.
func (l *listing) readPage(at listPage) {
	l.mu.Lock()
	asked := time.Now()
	q := InstanceQuery{Mode: l.mode, Offset: l.m.pace.offset(at, asked), Limit: pageSize, Wanted: l.want}
	l.mu.Unlock()
	page, err := read(l.r, l.r.start, func(ctx context.Context) (InstancePage, error) {
		asked = time.Now()
		return l.r.p.Instances.ListInstances(ctx, l.r.id, q)
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed = errors.Join(l.failed, err)
		return
	}
	if len(l.m.marks) == 0 && len(l.read) == 0 {
		l.m.top += page.Total - l.m.pace.total // what is new stands above
	}
	l.m.pace.saw(page.Total, asked, time.Now())
	span := listSpan{low: page.Total - q.Offset - len(page.Instances) + 1, high: page.Total - q.Offset}
	var marks []listMark
	fresh := 0
	for n, i := range page.Instances {
		w := l.byID[i.ID]
		if w == nil {
			continue
		}
		marks = append(marks, listMark{l.r.created(w), span.high - n})
		l.m.saw(i.ID, span.high-n, i.Status == InstanceNormal && len(i.Actions) == 0 || i.Status == InstanceCreateFail)
		if w.poll.Instance == nil {
			l.r.sawInstance(w, i)
			fresh++
		}
	}
	span.full = fresh > few
	place, _ := slices.BinarySearchFunc(l.read, span.low, func(s listSpan, low int) int { return s.low - low })
	l.read = slices.Insert(l.read, place, span)
	l.found += len(marks)
	l.m.learn(marks, l.horizon)
	if len(l.m.marks) == 0 && span.high >= l.m.top {
		l.m.top = span.low - 1
	}
}

// end leaves what was missed at the first look in a list that moves fast for the next
// round: a page tells of it soon.
func (l *listing) end() {
	if len(l.read) > 0 {
		l.m.failing = 0
	}
	switch {
	case l.found > 0:
		l.m.barren, l.m.guessed = 0, false
	case len(l.read) > 0:
		l.m.barren++
	}
	if !l.m.pace.moves() {
		return
	}
	for _, w := range l.left {
		if b := l.byID[w.id]; b.claim.Looks <= 1 && !l.r.p.Policy.mustSee(b.claim) {
			b.poll.Err, b.done = errNotReached, true
		}
	}
}

// sawInstance takes an instance of a page. What may have failed is read once more,
// for the reason.
func (r *reading) sawInstance(l *watched, i Instance) {
	l.poll.Instance, l.poll.Err = &i, nil
	l.done = !l.needsReason()
}
