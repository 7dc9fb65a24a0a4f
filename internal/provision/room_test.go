package provision

import "testing"

func TestAFullRoomHasAPlaceForWhoHasNone(t *testing.T) {
	r := newRoom(2)
	projects := []string{"a", "b", "c"}
	want := func(what string, limit int, most map[string]int) {
		t.Helper()
		given := map[string]int{"c": 0} // which may not be claimed
		if got := r.most(projects, given); got != limit || len(given) != len(most) || given["a"] != most["a"] || given["b"] != most["b"] || given["c"] != 0 {
			t.Errorf("%s: %d, %v", what, got, given)
		}
	}
	want("empty", 2, map[string]int{"c": 0})
	r.enter("a")
	want("half full", 1, map[string]int{"c": 0})
	r.enter("a")
	want("full of a", 1, map[string]int{"a": 0, "b": 1, "c": 0})
	r.enter("b")
	want("b has its place", 0, map[string]int{"a": 0, "b": 0, "c": 0})
	r.leave("a")
	want("still one too many", 0, map[string]int{"a": 0, "b": 0, "c": 0})
	r.leave("a")
	want("one may enter", 1, map[string]int{"c": 0})
	if r.free() != 1 {
		t.Errorf("%d free", r.free())
	}
}
