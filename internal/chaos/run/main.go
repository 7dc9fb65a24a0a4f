// Command run breaks a whole system on purpose and prints what came of it:
// everything at once ("chaos"), or one part after the other ("outages").
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
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
	if len(args) != 1 || args[0] != "chaos" {
		return fmt.Errorf("usage: chaos|outages")
	}
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
		{"CHAOS_HIDE", 0, func(n uint64) { cfg.Hide = int(n) }},
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
