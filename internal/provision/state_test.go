package provision

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryStateIsReachedAndLeftAsItShould(t *testing.T) {
	for _, s := range States() {
		in := slices.ContainsFunc(Steps(), func(x Step) bool { return x.To == s })
		out := slices.ContainsFunc(Steps(), func(x Step) bool { return x.From == s })
		if !in && s != Rejected {
			t.Errorf("nothing leads to %s", s)
		}
		if s.Ended() == out && s != Failed { // failed is left only by a retry
			t.Errorf("%s: ended %v, steps out of it %v", s, s.Ended(), out)
		}
	}
	for _, s := range Steps() {
		if s.Why == "" {
			t.Errorf("the step from %s to %s has no reason", s.From, s.To)
		}
	}
	if CanGo(Ready, Failed) || CanGo(Rejected, Pending) || !CanGo(Pending, Creating) {
		t.Error("CanGo is not what the table says")
	}
}

// The picture in the documentation shows the same steps.
func TestThePictureIsTheTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	var drawn, want []string
	for _, m := range regexp.MustCompile(`(?m)^    (\w+) --> (\w+)`).FindAllStringSubmatch(string(text), -1) {
		drawn = append(drawn, m[1]+" "+m[2])
	}
	for _, s := range Steps() {
		want = append(want, string(s.From)+" "+string(s.To))
	}
	slices.Sort(drawn)
	slices.Sort(want)
	if !slices.Equal(drawn, want) {
		t.Errorf("docs/architecture.md draws\n%s\nand the table has\n%s", strings.Join(drawn, "\n"), strings.Join(want, "\n"))
	}
}
