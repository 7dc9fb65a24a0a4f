package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// eventsIdle is how long the server keeps the consumer of a reader that ended without
// a word. A stream takes 1,000 consumers, unless it is told otherwise.
const eventsIdle = 15 * time.Second

// eventReader reads DDS_EVENTS from the beginning, through a consumer of its own.
type eventReader struct {
	js       jetstream.JetStream
	consumer jetstream.Consumer
	iterator jetstream.MessagesContext
	expected uint64 // delivery
}

// readEvents makes a reader of these subjects. Close it.
func readEvents(ctx context.Context, js jetstream.JetStream, subjects ...string) (*eventReader, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	config := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy,
		InactiveThreshold: eventsIdle, MemoryStorage: true, Replicas: 1,
	}
	if len(subjects) == 1 {
		config.FilterSubject = subjects[0]
	} else {
		config.FilterSubjects = subjects
	}
	consumer, err := js.CreateConsumer(ctx, EventsStream, config)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("no answer (%w); a NATS user without the right to publish to $JS.API.CONSUMER.CREATE.%s.* gets none", err, EventsStream)
	}
	if err != nil {
		return nil, err
	}
	r := &eventReader{js: js, consumer: consumer}
	if r.iterator, err = consumer.Messages(jetstream.PullHeartbeat(heartbeat)); err != nil {
		r.remove()
		return nil, err
	}
	return r, nil
}

// next waits for the next message. Nothing is repeated to this consumer, so a gap in
// the count of deliveries is a message that was lost on the way.
func (r *eventReader) next(ctx context.Context) (jetstream.Msg, error) {
	msg, err := r.iterator.Next(jetstream.NextContext(ctx))
	if err != nil {
		return nil, err
	}
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	if r.expected++; meta.Sequence.Consumer != r.expected {
		return nil, fmt.Errorf("delivery %d came instead of %d: try again", meta.Sequence.Consumer, r.expected)
	}
	return msg, nil
}

func (r *eventReader) close() {
	r.iterator.Stop()
	r.remove()
}

// remove takes the consumer off the stream. Where that fails the server does it.
func (r *eventReader) remove() {
	if !r.js.Conn().IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = r.js.DeleteConsumer(ctx, EventsStream, r.consumer.CachedInfo().Name)
}
