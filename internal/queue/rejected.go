package queue

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
)

// RejectedConfig says how much effort copies are worth. Zero values take their
// defaults.
type RejectedConfig struct {
	Buffer  int           // copies that may wait; default 256
	Timeout time.Duration // for one copy, and for all that wait at Close; default 2 s
	Log     *slog.Logger  // default: slog.Default()
}

// Rejected publishes copies of refused messages to DDS_REJECTED. It implements
// provision.RejectedCopies: a copy that finds no room is dropped and counted.
type Rejected struct {
	js      jetstream.JetStream
	cfg     RejectedConfig
	queue   chan provision.Rejection
	dropped atomic.Uint64
	closing chan struct{}
	done    chan struct{}
}

var _ provision.RejectedCopies = (*Rejected)(nil)

// NewRejected starts to publish. Close ends it.
func NewRejected(js jetstream.JetStream, cfg RejectedConfig) *Rejected {
	cfg.Timeout = orDefault(cfg.Timeout, 2*time.Second)
	cfg.Log = orDefault(cfg.Log, slog.Default())
	r := &Rejected{
		js:      js,
		cfg:     cfg,
		queue:   make(chan provision.Rejection, orDefault(cfg.Buffer, 256)),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	go r.run()
	return r
}

// Copy publishes the rejection some time soon, or drops it.
func (r *Rejected) Copy(rejection provision.Rejection) {
	select {
	case r.queue <- rejection:
	default:
		r.dropped.Add(1)
	}
}

// Dropped counts the copies that found no room or could not be published.
func (r *Rejected) Dropped() uint64 { return r.dropped.Load() }

// Close publishes what waits, within the timeout, and ends. Call it once, when
// nobody calls Copy any more.
func (r *Rejected) Close() {
	close(r.closing)
	<-r.done
}

func (r *Rejected) run() {
	defer close(r.done)
	for {
		select {
		case rejection := <-r.queue:
			ctx, cancel := context.WithTimeout(context.Background(), r.cfg.Timeout)
			r.publish(ctx, rejection)
			cancel()
		case <-r.closing:
			ctx, cancel := context.WithTimeout(context.Background(), r.cfg.Timeout)
			defer cancel()
			for range len(r.queue) {
				r.publish(ctx, <-r.queue)
			}
			return
		}
	}
}

func (r *Rejected) publish(ctx context.Context, rejection provision.Rejection) {
	if _, err := r.js.PublishMsg(ctx, rejectedCopy(rejection, r.js.Conn().MaxPayload())); err != nil {
		r.dropped.Add(1)
		r.cfg.Log.Warn("no copy of a refused message; it is recorded in the table rejections",
			"stream", RejectedStream, "request_id", rejection.RequestID, "sequence", rejection.Sequence, "error", err)
	}
}

// rejectedCopy is a refused message as it is kept. Copies of the same delivery
// have the same message id, so the stream keeps one.
func rejectedCopy(r provision.Rejection, maxPayload int64) *nats.Msg {
	const roomForHeaders = 8 << 10
	msg := nats.NewMsg(RejectedSubject)
	set := func(name, value string) { msg.Header.Set(name, oneLine(value, maxReason)) }
	set(jetstream.MsgIDHeader, derivedID(r.ReceivedAt, r.Sequence))
	set(HeaderRequestID, r.RequestID)
	set(HeaderRejectedCode, r.Code)
	set(HeaderRejectedReason, reasons(r))
	set(HeaderBodySize, strconv.Itoa(r.Size))
	set(HeaderStreamSequence, strconv.FormatUint(r.Sequence, 10))
	switch {
	case r.Body == nil:
		set(HeaderBodyWithheld, "it is not JSON, so a password in it cannot be found")
	case int64(len(r.Body)) > maxPayload-roomForHeaders:
		set(HeaderBodyWithheld, "it leaves no room for these headers")
	default:
		msg.Data = r.Body
	}
	return msg
}

const maxReason = 4 << 10 // bytes

// reasons puts all broken rules into one text.
func reasons(r provision.Rejection) string {
	if len(r.Reasons) == 0 {
		return r.Code
	}
	var list []string
	for _, v := range r.Reasons {
		text := fmt.Sprintf("given %s; allowed: %s", v.Given, v.Allowed)
		if v.Path != "" {
			text = v.Path + ": " + text
		}
		list = append(list, text)
	}
	return strings.Join(list, " | ")
}
