package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
)

// Identities returns whose each stream is, in the words that Setup and Adopt wrote
// into it. It changes nothing; a stream that is missing is nobody's.
func Identities(ctx context.Context, js jetstream.JetStream) ([]provision.StreamIdentity, error) {
	var all []provision.StreamIdentity
	for _, name := range []string{RequestsStream, RejectedStream, EventsStream} {
		have, err := readStream(ctx, js, name)
		if err != nil {
			return nil, err
		}
		id := provision.StreamIdentity{Stream: name}
		if have != nil {
			id.Installation, id.Epoch = have.Metadata[installationKey], have.Metadata[epochKey]
		}
		all = append(all, id)
	}
	return all, nil
}

// LastEvent returns the event that was published last, the zero one if there is none,
// or no stream of them. A database that does not know it is older than the stream.
func LastEvent(ctx context.Context, js jetstream.JetStream) (provision.Event, error) {
	stream, err := js.Stream(ctx, EventsStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return provision.Event{}, nil
	}
	if err != nil {
		return provision.Event{}, fmt.Errorf("read stream %s: %w", EventsStream, err)
	}
	last, err := stream.GetLastMsgForSubject(ctx, eventsPrefix+"*")
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return provision.Event{}, nil
	}
	if err != nil {
		return provision.Event{}, fmt.Errorf("read the last message of stream %s: %w", EventsStream, err)
	}
	e, err := ParseEvent(last.Header, last.Data)
	if err != nil {
		return provision.Event{}, nil // not ours, and no reason to stand still
	}
	e.Sequence = last.Sequence
	return e, nil
}

// EachEvent calls do for every event that is in the stream now, in its order. What
// cannot be read is nobody's event.
func EachEvent(ctx context.Context, js jetstream.JetStream, do func(provision.Event) error) error {
	const op = "read the events in stream " + EventsStream
	reader, err := readEvents(ctx, js, eventsPrefix+"*")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer reader.close()
	for left := reader.consumer.CachedInfo().NumPending; left > 0; left-- {
		msg, err := reader.next(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if e, err := ParseEvent(msg.Headers(), msg.Data()); err == nil {
			if err := do(e); err != nil {
				return err
			}
		}
	}
	return nil
}
