package provision

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A collector writes what many goroutines hand it in batches: whatever has piled
// up while the batch before was being written goes together, and for a short while
// few wait for company, because a statement for one row costs as much as one for
// twenty.
type collector[T any] struct {
	in    chan handed[T]
	max   int
	write func(context.Context, []T) error
}

type handed[T any] struct {
	item T
	done chan error
}

func newCollector[T any](max int, write func(context.Context, []T) error) *collector[T] {
	return &collector[T]{in: make(chan handed[T], max), max: max, write: write}
}

// put returns when the item is written, or with the error that ended it.
func (c *collector[T]) put(ctx context.Context, item T) error {
	h := handed[T]{item: item, done: make(chan error, 1)}
	select {
	case c.in <- h:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-h.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run writes until ctx ends.
func (c *collector[T]) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-c.in:
			c.flush(ctx, first)
		}
	}
}

// companyTime is how long few items wait for others.
const companyTime = 10 * time.Millisecond

// enough is how many items wait for no others.
func (c *collector[T]) enough() int { return max(1, c.max/crowded) }

func (c *collector[T]) flush(ctx context.Context, first handed[T]) {
	batch := []handed[T]{first}
	company := time.NewTimer(companyTime)
	defer company.Stop()
	for wait := true; wait && len(batch) < c.enough(); {
		select {
		case h := <-c.in:
			batch = append(batch, h)
		case <-company.C:
			wait = false
		case <-ctx.Done():
			wait = false
		}
	}
	for more := true; more && len(batch) < c.max; {
		select {
		case h := <-c.in:
			batch = append(batch, h)
		default:
			more = false
		}
	}
	items := make([]T, len(batch))
	for i, h := range batch {
		items[i] = h.item
	}
	err := c.write(ctx, items)
	for _, h := range batch {
		h.done <- err
	}
}

// writeAll writes a batch until it is written: a row that the store will never
// take is found by halving and handed to bad, anything else is tried again until
// ctx ends. The other rows are written even if bad fails.
func writeAll[T any](ctx context.Context, h *Health, batch []T,
	write func(context.Context, []T) error, bad func(context.Context, T, error) error) error {
	for failures := 0; ; failures++ {
		err := write(ctx, batch)
		counted := min(failures, 1)
		switch {
		case errors.Is(err, ErrUnstorable):
			h.wrote(nil, -counted)
			if len(batch) == 1 {
				return bad(ctx, batch[0], err)
			}
			half := len(batch) / 2
			return errors.Join(writeAll(ctx, h, batch[:half], write, bad), writeAll(ctx, h, batch[half:], write, bad))
		case err == nil:
			h.wrote(nil, -counted)
			return nil
		case ctx.Err() != nil:
			h.wrote(err, -counted)
			return errors.Join(ctx.Err(), err)
		}
		h.wrote(err, 1-counted)
		Bell(nil).wait(ctx, expDelay(pauseMin, pauseMax, failures+1))
	}
}

// writeOne writes a row until it is written, or returns that the store will never
// take it.
func writeOne[T any](ctx context.Context, h *Health, row T, write func(context.Context, []T) error) error {
	return writeAll(ctx, h, []T{row}, write, func(_ context.Context, _ T, err error) error { return err })
}

// inParallel runs do for every item, at most limit at a time, and waits for all.
func inParallel[T any](items []T, limit int, do func(T)) {
	slots := make(chan struct{}, limit)
	var wg sync.WaitGroup
	for _, item := range items {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(item)
		})
	}
	wg.Wait()
}
