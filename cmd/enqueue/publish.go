package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"ddsworker/internal/queue"
)

// publishers is how many requests wait for their receipt at once.
const publishers = 128

// receipt says that a request is stored, or why that is not known.
type receipt struct {
	sequence uint64 // in the stream
	err      error
}

var errNotTried = errors.New("not stored: it was not sent any more")

// publishAll publishes all requests, many at once, and tells about each in
// their order as soon as it is known. After the first failure no more are sent.
func publishAll(ctx context.Context, p *queue.Publisher, requests []request, tell func(request, receipt)) []receipt {
	var failed atomic.Bool
	publish := func(r request) receipt {
		if failed.Load() || ctx.Err() != nil {
			return receipt{err: errNotTried}
		}
		sequence, err := p.Publish(ctx, r.Request)
		if err != nil {
			failed.Store(true)
		}
		return receipt{sequence, err}
	}

	settled := make([]chan receipt, len(requests))
	for i := range settled {
		settled[i] = make(chan receipt, 1)
	}
	var next atomic.Int64
	var group sync.WaitGroup
	defer group.Wait()
	for range min(publishers, len(requests)) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(requests)); i = next.Add(1) - 1 {
				settled[i] <- publish(requests[i])
			}
		})
	}

	receipts := make([]receipt, len(requests))
	for i := range requests {
		receipts[i] = <-settled[i]
		tell(requests[i], receipts[i])
	}
	return receipts
}
