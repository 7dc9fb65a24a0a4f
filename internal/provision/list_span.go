package provision

import "slices"

// listSpan is what a page showed: places, both included.
type listSpan struct {
	low, high int
	full      bool // it told of more than a few, so there may be more next to it
}

// beside returns the place itself, if no page showed it, or else one next to the pages
// that did. It is false where what is wanted should have been seen.
func beside(place, margin int, read []listSpan) (int, bool) {
	for n, s := range read { // in the order of their places
		if place < s.low || place > s.high {
			continue
		}
		low, high := s, s
		for _, lower := range slices.Backward(read[:n]) {
			if lower.high >= low.low-margin && lower.low < low.low {
				low = lower
			}
		}
		for _, higher := range read[n+1:] {
			if higher.low <= high.high+margin && higher.high > high.high {
				high = higher
			}
		}
		if place-low.low < high.high-place {
			return low.low - 1, low.full && low.low > 1
		}
		return high.high + 1, high.full
	}
	return place, true
}

// below is where a page begins that does not show again what was read above it.
func below(low, margin int, read []listSpan) int {
	for _, s := range read {
		if s.low > low+margin {
			return min(low, s.low+margin-pageSize)
		}
	}
	return low
}
