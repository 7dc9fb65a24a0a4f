package app

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ddsworker/internal/provision"
)

// Rates is a setting of rate limits: "20" and "20/s" are calls a second, "200/5m" is
// 200 calls in any 5 minutes; several are separated by commas, and all of them hold.
type Rates []provision.RateLimit

func parseRates(text string) (Rates, error) {
	var rates Rates
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		rate, ok := parseRate(part)
		if !ok {
			return nil, fmt.Errorf("given %q, allowed: calls a second like 20 or 20/s, and windows like 200/5m, separated by commas", text)
		}
		if !slices.Contains(rates, rate) {
			rates = append(rates, rate)
		}
	}
	return rates, nil
}

func parseRate(text string) (r provision.RateLimit, ok bool) {
	calls, per, windowed := strings.Cut(text, "/")
	n, err := strconv.Atoi(strings.TrimSpace(calls))
	if err != nil || n < 1 || n > 1_000_000 {
		return r, false
	}
	window := time.Second
	if per = strings.TrimSpace(per); windowed {
		if strings.Trim(per, "smh") == "" { // "s" is "1s"
			per = "1" + per
		}
		if window, err = time.ParseDuration(per); err != nil || window < time.Second || window > 24*time.Hour {
			return r, false
		}
	}
	return provision.RateLimit{Name: fmt.Sprintf("%d/%s", n, window), Calls: n, Per: window}, true
}
