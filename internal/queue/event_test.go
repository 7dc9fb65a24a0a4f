package queue

import "testing"

// BenchmarkEventMessage is what the relay makes of an event.
func BenchmarkEventMessage(b *testing.B) {
	e := event(7, "c010abd0-48cf-4fa8-8cbc-090f093eaa2f")
	e.InstanceID, e.JobID = "0123456789abcdef0123456789abcdefin02", "c010abd0-48cf-4fa8-8cbc-090f093eaa2f"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := eventMessage(e); err != nil {
			b.Fatal(err)
		}
	}
}
