package provision

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func quietHealth() *Health { return NewHealth(slog.New(slog.DiscardHandler)) }

func TestABadRowIsFoundByHalving(t *testing.T) {
	for _, bad := range [][]int{{}, {0}, {99}, {3, 4, 50}, {0, 1, 2, 3, 4, 5, 6, 7}} {
		batch := make([]int, 100)
		for i := range batch {
			batch[i] = i
		}
		var written, refused []int
		write := func(_ context.Context, rows []int) error {
			if slices.ContainsFunc(rows, func(r int) bool { return slices.Contains(bad, r) }) {
				return fmt.Errorf("one of them: %w", ErrUnstorable)
			}
			written = append(written, rows...)
			return nil
		}
		err := writeAll(t.Context(), quietHealth(), batch, write, func(_ context.Context, row int, _ error) error {
			refused = append(refused, row)
			return nil
		})
		if err != nil || !slices.Equal(refused, bad) && len(bad) > 0 || len(written) != 100-len(bad) || !slices.IsSorted(written) {
			t.Errorf("bad %v: refused %v, %d written, %v", bad, refused, len(written), err)
		}
	}
}

func TestABadRowHoldsUpNoOther(t *testing.T) {
	lost := errors.New("cannot be kept at all")
	var written []int
	err := writeAll(t.Context(), quietHealth(), []int{0, 1, 2, 3, 4, 5, 6, 7}, func(_ context.Context, rows []int) error {
		if slices.Contains(rows, 1) || slices.Contains(rows, 6) {
			return ErrUnstorable
		}
		written = append(written, rows...)
		return nil
	}, func(_ context.Context, row int, _ error) error { return fmt.Errorf("row %d: %w", row, lost) })
	if !slices.Equal(written, []int{0, 2, 3, 4, 5, 7}) {
		t.Errorf("written %v", written)
	}
	if !errors.Is(err, lost) || err.Error() != "row 1: cannot be kept at all\nrow 6: cannot be kept at all" {
		t.Errorf("it ended with %v", err)
	}
}

func TestAPassingFailureIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, tries := quietHealth(), 0
		err := writeAll(t.Context(), h, []int{1}, func(context.Context, []int) error {
			if tries++; tries < 20 {
				return errors.New("down")
			}
			return nil
		}, nil)
		if err != nil || tries != 20 || len(h.Problems()) != 0 {
			t.Errorf("%v after %d tries, problems %v", err, tries, h.Problems())
		}
	})
}

func TestWritingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		h := quietHealth()
		err := writeAll(ctx, h, []int{1}, func(context.Context, []int) error { return errors.New("down") }, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v", err)
		}
		if p := h.Problems(); len(p) != 1 || p[0].Part != "database writes" || p[0].Error != "down" {
			t.Errorf("problems %v", p)
		}
	})
}

// The database answers, takes what one writer writes, and refuses what another one does.
func TestWritesAreInTroubleUntilAllWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, refused := quietHealth(), errors.New("permission denied")
		var writers sync.WaitGroup
		for _, tries := range []int{5, 10} {
			writers.Go(func() {
				_ = writeOne(t.Context(), h, 1, func(context.Context, []int) error {
					if tries--; tries > 0 {
						return refused
					}
					return nil
				})
			})
		}
		time.Sleep(time.Millisecond)
		began := h.Problems()
		for range 50 {
			h.Report(PartDatabase, nil)
			if err := writeOne(t.Context(), h, 1, func(context.Context, []int) error { return nil }); err != nil {
				t.Error(err)
			}
			if p := h.Problems(); len(p) != 1 || p[0] != (Problem{PartWrites, refused.Error(), began[0].Since}) {
				t.Fatalf("after %v: %v, in the beginning %v", time.Since(began[0].Since), p, began)
			}
			time.Sleep(100 * time.Millisecond)
		}
		writers.Wait()
		if p := h.Problems(); len(p) > 0 {
			t.Error(p)
		}
	})
}

func TestWhatPilesUpIsWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var batches []int
		c := newCollector(50, func(_ context.Context, rows []int) error {
			batches = append(batches, len(rows))
			time.Sleep(time.Second) // the statement takes as long
			return nil
		})
		var run, puts sync.WaitGroup
		run.Go(func() { c.run(ctx) })
		for i := range 200 {
			puts.Go(func() {
				if err := c.put(ctx, i); err != nil {
					t.Error(err)
				}
			})
		}
		puts.Wait()
		cancel()
		run.Wait()
		total := 0
		for _, n := range batches {
			total += n
		}
		if total != 200 || len(batches) > 6 {
			t.Errorf("batches %v", batches)
		}
	})
}

// One that is alone waits a little for company, and many wait for none.
func TestFewWaitForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var batches []int
		c := newCollector(40, func(_ context.Context, rows []int) error {
			batches = append(batches, len(rows))
			return nil
		})
		var run, puts sync.WaitGroup
		run.Go(func() { c.run(ctx) })
		put := func(many int, want time.Duration) {
			puts.Go(func() {
				began := time.Now()
				var all sync.WaitGroup
				for i := range many {
					all.Go(func() { _ = c.put(ctx, i) })
				}
				all.Wait()
				if took := time.Since(began); took != want {
					t.Errorf("%d took %v, want %v", many, took, want)
				}
			})
		}
		put(1, companyTime)
		time.Sleep(companyTime / 2)
		put(2, companyTime/2)
		time.Sleep(time.Second)
		put(c.enough(), 0)
		puts.Wait()
		cancel()
		run.Wait()
		if want := []int{3, c.enough()}; !slices.Equal(batches, want) {
			t.Errorf("batches %v, want %v", batches, want)
		}
	})
}

func TestALoopPausesAfterFailuresAndHearsItsBell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		failures, bell := 0, NewBell()
		repeat(ctx, "failing", quietHealth(), bell, func(context.Context) (bool, error) {
			failures++
			bell.Ring() // a bell does not shorten the pause after a failure
			return true, errors.New("down")
		})
		if failures < 10 || failures > 40 {
			t.Errorf("%d tries in a minute: it spins, or sleeps too long", failures)
		}
		began, steps := time.Now(), 0
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		repeat(ctx, "idle", quietHealth(), bell, func(context.Context) (bool, error) {
			if steps++; steps == 100 {
				cancel()
			}
			bell.Ring()
			return false, nil
		})
		if d := time.Since(began); d > idle {
			t.Errorf("100 rings took %v", d)
		}
	})
}

func TestHealthLogsAChangeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &countingHandler{}
		h := NewHealth(slog.New(lines))
		for range 1000 {
			h.Report("database", errors.New("down"))
		}
		h.Report("database", context.Canceled)
		if lines.n != 1 || len(h.Problems()) != 1 {
			t.Errorf("%d lines, problems %v", lines.n, h.Problems())
		}
		for range 100 { // up and down within moments
			h.Report("database", nil)
			h.Report("database", errors.New("down"))
		}
		h.Report("database", nil)
		if lines.n > 2 || len(h.Problems()) != 0 {
			t.Errorf("%d lines, problems %v", lines.n, h.Problems())
		}
	})
}

type countingHandler struct {
	slog.Handler
	n int
}

func (c *countingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (c *countingHandler) Handle(context.Context, slog.Record) error {
	c.n++
	return nil
}
