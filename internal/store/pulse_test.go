package store

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pulse
		for what, c := range map[string]struct {
			writes []time.Duration
			want   string
		}{
			"nothing":         {nil, ""},
			"too few to tell": {[]time.Duration{time.Second, time.Second}, ""},
			"one long one":    {[]time.Duration{time.Second, 2 * time.Millisecond, time.Second}, ""},
			"all late":        {[]time.Duration{time.Second, 150 * time.Millisecond, time.Minute}, "of the last 3 writes the fastest took 150ms"},
		} {
			for _, d := range c.writes {
				p.took(time.Now().Add(-d))
			}
			if err := p.slow(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", what, err, c.want)
			}
			if err := p.slow(); err != nil {
				t.Errorf("%s: told twice: %v", what, err)
			}
		}
	})
}
