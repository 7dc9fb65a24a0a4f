package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
)

// Watch yields the events of a request in their order, each once, from the
// first that the stream still has, and then those to come. It ends with ctx or
// when the caller stops.
//
// A pair with an error is no event: it says, once, why there are none for now.
// Watch keeps trying meanwhile.
func Watch(ctx context.Context, js jetstream.JetStream, requestID string) iter.Seq2[provision.Event, error] {
	return func(yield func(provision.Event, error) bool) {
		w := &watcher{js: js, id: requestID, subject: EventSubject(requestID), yield: yield, pause: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(250*time.Millisecond),
			backoff.WithMaxInterval(5*time.Second),
			backoff.WithMaxElapsedTime(0))}
		for {
			err := w.follow(ctx)
			if ctx.Err() != nil || errors.Is(err, errStopped) {
				return
			}
			if !w.troubled && !yield(provision.Event{}, err) {
				return
			}
			w.troubled = true
			select {
			case <-ctx.Done():
				return
			case <-time.After(w.pause.NextBackOff()):
			}
		}
	}
}

var errStopped = errors.New("the caller stopped")

// watcher is one Watch.
type watcher struct {
	js       jetstream.JetStream
	id       string
	subject  string
	yield    func(provision.Event, error) bool
	pause    *backoff.ExponentialBackOff
	last     int64 // id of the last event that was yielded
	troubled bool  // an error was yielded, and no event since
}

// follow reads the subject from its beginning through a consumer of its own,
// leaves out what was yielded before, and returns when that consumer is lost.
// A request has few events, so reading them again costs little, and it works
// for a stream that was made anew as well.
func (w *watcher) follow(ctx context.Context) error {
	opening, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	consumer, err := w.js.CreateConsumer(opening, EventsStream, jetstream.ConsumerConfig{
		FilterSubject:     w.subject,
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: time.Minute,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("stream %s is missing: run `worker migrate` or start a worker", EventsStream)
	}
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.subject, err)
	}
	iterator, err := consumer.Messages(jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.subject, err)
	}
	defer iterator.Stop()
	for expected := uint64(1); ; expected++ {
		msg, err := iterator.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("watch %s: %w", w.subject, err)
		}
		if err := w.hand(msg, expected); err != nil {
			return err
		}
	}
}

// hand yields a message unless it was yielded before. Nothing is repeated to
// this consumer, so a gap in the count of deliveries is an event that was lost
// on the way.
func (w *watcher) hand(msg jetstream.Msg, expected uint64) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.subject, err)
	}
	if meta.Sequence.Consumer != expected {
		return fmt.Errorf("watch %s: delivery %d came instead of %d", w.subject, meta.Sequence.Consumer, expected)
	}
	e, err := ParseEvent(msg.Headers(), msg.Data())
	if err != nil || e.RequestID != w.id || e.ID <= w.last {
		return nil // not ours, or known
	}
	w.last, w.troubled = e.ID, false
	w.pause.Reset()
	if !w.yield(e, nil) {
		return errStopped
	}
	return nil
}
