package chaos

import (
	"regexp"
	"testing"
	"time"
)

// The short form of "make outages": some of them, for moments, and with patience
// for a slow machine.
func TestOutages(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute: not with -short")
	}
	t.Parallel()
	err := Outages(t.Context(), OutageConfig{
		Only:     regexp.MustCompile("NATS is killed|Postgres is killed|read-only|out of connections|cloud hangs|garbage"),
		Duration: 2 * time.Second, Before: time.Second, Rate: 15, Named: 30 * time.Second, Back: 30 * time.Second,
		Settings: []string{"CALL_TIMEOUT=1s"}, Out: t.Output()})
	if err != nil {
		t.Error(err)
	}
}

func TestBackAfter(t *testing.T) {
	end := time.Unix(1_700_000_000, 0)
	var times []time.Time
	for n := range 30 { // ten a second, from 2.5 s after the end on
		times = append(times, end.Add(2500*time.Millisecond+time.Duration(n)*100*time.Millisecond))
	}
	if back, ok := backAfter(times, end, end.Add(5*time.Second), 8); !ok || back < 2*time.Second || back > 2500*time.Millisecond {
		t.Errorf("%v, %v; want about 2.3 s", back, ok)
	}
	if back, ok := backAfter(times, end, end.Add(5*time.Second), 12); ok {
		t.Errorf("%v; it never was so fast", back)
	}
	if back, ok := backAfter(times, end, end.Add(2*time.Second), 8); ok {
		t.Errorf("%v; nobody knows yet", back)
	}
}
