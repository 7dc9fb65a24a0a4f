// Command run breaks a whole system on purpose and prints what came of it:
// everything at once ("chaos"), or one part after the other ("outages").
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"ddsworker/internal/chaos"
)

func main() {
	chaos.ServeIfAsked()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "chaos":
		return everything(ctx)
	case len(args) == 1 && args[0] == "outages":
		return outages(ctx)
	}
	return fmt.Errorf("usage: chaos|outages")
}

// outages lets each part fail for OUTAGE_SECONDS (30); OUTAGES is a pattern of
// their names.
func outages(ctx context.Context) error {
	only, err := regexp.Compile(os.Getenv("OUTAGES"))
	if err != nil {
		return fmt.Errorf("OUTAGES: %w", err)
	}
	n := uint64(30)
	if text := os.Getenv("OUTAGE_SECONDS"); text != "" {
		if n, err = strconv.ParseUint(text, 10, 16); err != nil {
			return fmt.Errorf("OUTAGE_SECONDS: given %q, allowed: a number", text)
		}
	}
	return chaos.Outages(ctx, chaos.OutageConfig{Only: only, Duration: time.Duration(n) * time.Second, Before: 5 * time.Second,
		Rate: 20, Named: 15 * time.Second, Back: 5 * time.Second, Out: os.Stdout})
}

// everything breaks everything at once, as the CHAOS_ variables say.
func everything(ctx context.Context) error {
	cfg := chaos.Config{Workers: 4, Limit: 10 * time.Minute, Out: os.Stdout}
	for _, v := range []struct {
		name     string
		standard uint64
		set      func(uint64)
	}{
		{"CHAOS_SEED", rand.Uint64(), func(n uint64) { cfg.Seed = n }},
		{"CHAOS_REQUESTS", 5000, func(n uint64) { cfg.Requests = int(n) }},
		{"CHAOS_FAULTS", 500, func(n uint64) { cfg.Faults = int(n) }},
		{"CHAOS_SECONDS", 240, func(n uint64) { cfg.Span = time.Duration(n) * time.Second }},
		{"CHAOS_REVOKE", 2, func(n uint64) { cfg.Revoke = int(n) }},
		{"CHAOS_HIDE", 2, func(n uint64) { cfg.Hide = int(n) }},
	} {
		n := v.standard
		if text := os.Getenv(v.name); text != "" {
			var err error
			if n, err = strconv.ParseUint(text, 10, 64); err != nil {
				return fmt.Errorf("%s: given %q, allowed: a number", v.name, text)
			}
		}
		v.set(n)
	}
	return chaos.Run(ctx, cfg)
}
