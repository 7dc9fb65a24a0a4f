package app

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ddsworker/internal/provision"
)

// A database that hangs holds no scrape up until Prometheus gives up, and not every
// one of them; and the counts from before are shown.
func TestCountsOfADatabaseThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, hangs := 0, false
		live := &liveRequests{count: func(ctx context.Context) (map[provision.State]int, error) {
			asked++
			if hangs {
				<-ctx.Done()
				return nil, errors.Join(ctx.Err(), errors.New("it hangs"))
			}
			return map[provision.State]int{provision.Pending: asked}, nil
		}}
		registry := prometheus.NewRegistry()
		registry.MustRegister(live)
		scrape := func(want float64, within time.Duration, asks int) {
			t.Helper()
			began, before := time.Now(), asked
			families, err := registry.Gather()
			if err != nil || len(families) != 1 || families[0].Metric[0].Gauge.GetValue() != want {
				t.Errorf("shown %v, %v; want %v", families, err, want)
			}
			if d := time.Since(began); d > within || asked-before != asks {
				t.Errorf("it took %v and asked %d times, want %v and %d", d, asked-before, within, asks)
			}
		}
		scrape(1, 0, 1)
		time.Sleep(time.Second)
		hangs = true
		scrape(1, 5*time.Second, 1) // half of what Prometheus waits
		for range 10 {
			time.Sleep(15 * time.Second)
			scrape(1, 0, 0)
		}
		time.Sleep(time.Minute)
		hangs = false
		scrape(3, 0, 1)
	})
}
