package provision

import (
	"fmt"
	"testing"
	"time"
)

// grownMap knows a list of so many instances, of which one was created each millisecond.
func grownMap(total int) (m *listMap, created func(place int) time.Time) {
	epoch := time.Unix(1_800_000_000, 0)
	created = func(place int) time.Time { return epoch.Add(time.Duration(place) * time.Millisecond) }
	m = &listMap{}
	m.pace.saw(total, created(total), created(total))
	m.learn([]listMark{{created(1), 1}, {created(total), total}}, time.Time{})
	return m, created
}

func TestPagesAreChosenByWhatWasRead(t *testing.T) {
	wanted := func(from, to int) (items []wantedItem) {
		_, created := grownMap(1000)
		for n := from; n <= to; n++ {
			items = append(items, wantedItem{fmt.Sprint(n), created(n)})
		}
		return items
	}
	for _, tt := range []struct {
		name   string
		wanted []wantedItem
		read   []listSpan
		low    []int // of the pages
		rest   int
	}{
		{"next to each other", wanted(301, 480), nil, []int{298, 392}, 0},
		{"alone", append(wanted(100, 101), wanted(900, 900)...), nil, nil, 3},
		{"a page that told of none", wanted(301, 310), []listSpan{{250, 349, false}}, nil, 0},
		{"above a page that told of some", wanted(341, 349), []listSpan{{250, 349, true}}, []int{347}, 0},
		{"below one", wanted(251, 259), []listSpan{{250, 349, true}}, []int{153}, 0},
		{"near the lower end of two", wanted(341, 343), []listSpan{{250, 349, true}, {340, 439, true}}, []int{153}, 0},
		{"between two", wanted(341, 349), []listSpan{{200, 299, true}, {360, 459, true}}, []int{263}, 0},
		{"above the front", wanted(990, 999), []listSpan{{901, 1000, true}}, nil, 0},
	} {
		m, _ := grownMap(1000)
		pages, rest := m.plan(tt.wanted, tt.read)
		var low []int
		for _, p := range pages {
			low = append(low, p.low)
		}
		if fmt.Sprint(low) != fmt.Sprint(tt.low) || len(rest) != tt.rest {
			t.Errorf("%s: pages from %v on and %d beside them, want %v and %d", tt.name, low, len(rest), tt.low, tt.rest)
		}
	}
}

// A page shows the places that it is meant to, though the list grows until it is served.
func TestAnOffsetForetellsTheGrowth(t *testing.T) {
	var p listPace
	at, length := time.Unix(1_800_000_000, 0), func(d time.Duration) int { return 500 + int(d.Seconds()*2000) }
	const took = 40 * time.Millisecond
	now := time.Duration(0)
	for ; now < 4*time.Second; now += took {
		p.saw(length(now+took/2), at.Add(now), at.Add(now+took))
	}
	if !p.moves() || p.margin() > margin+3 {
		t.Fatalf("it grows by %.0f a second, with a margin of %d", p.rate, p.margin())
	}
	page := listPage{low: 3000}
	offset := p.offset(page, at.Add(now))
	if low := length(now+took/2) - offset - pageSize + 1; low < page.low-2 || low > page.low+2 {
		t.Errorf("the page begins at %d, want %d", low, page.low)
	}
}

// Many were deleted since places were seen: the front page covers what would stand above it.
func TestPlacesAboveTheFrontAreOnTheFrontPage(t *testing.T) {
	m, created := grownMap(1000)
	var wanted []wantedItem
	for n := 990; n < 1000; n++ {
		m.saw(fmt.Sprint(n), n, false)
		wanted = append(wanted, wantedItem{fmt.Sprint(n), created(n)})
	}
	m.pace.saw(700, created(1001), created(1001))
	pages, _ := m.plan(wanted, nil)
	if len(pages) != 1 {
		t.Fatalf("%d pages, want that of the front", len(pages))
	}
	if pages, rest := m.plan(wanted, []listSpan{{low: 601, high: 700}}); len(pages)+len(rest) != 0 {
		t.Errorf("after the front page was read %d pages and %d instances are still expected", len(pages), len(rest))
	}
}
