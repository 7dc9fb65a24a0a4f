package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"ddsworker/internal/provision"
)

const (
	// A batch is stored whole or not at all, and synced to the disk once. That has a
	// price of its own at the server, about 2 ms, which few messages do not repay.
	smallBatch = 16
	maxBatched = 1000    // messages in a batch, the most that a server takes by default
	batchBytes = 8 << 20 // bodies in a batch, bytes
	headerRoom = 1 << 10 // bytes that the headers and the subject of an event may take
)

// Events publishes to DDS_EVENTS. It implements provision.EventPublisher.
//
// What it sends says at which place of the whole stream it belongs, so the stream
// refuses what comes too late: a relay that was paused cannot publish between or
// behind what its successor published.
type Events struct {
	js jetstream.JetStream
}

var _ provision.EventPublisher = (*Events)(nil)

// NewEvents returns an Events.
func NewEvents(js jetstream.JetStream) *Events { return &Events{js: js} }

// Publish implements provision.EventPublisher. An event that the stream takes in no
// form holds up the later ones of its request and no others.
func (p *Events) Publish(ctx context.Context, after uint64, events []provision.Event) (provision.Published, error) {
	done := provision.Published{After: after, Last: after}
	held := map[string]bool{}
	var failures []error
	hold := func(e provision.Event, err error) {
		held[e.RequestID] = true
		failures = append(failures, fmt.Errorf("publish event %d of request %s: %w", e.ID, e.RequestID, err))
	}
	for len(events) > 0 {
		var batch []message
		batch, events = p.fill(events, held, hold)
		stored, err := p.send(ctx, done.Last, batch)
		for _, m := range batch[:stored] {
			done.IDs = append(done.IDs, m.event.ID)
		}
		done.Last += uint64(stored)
		switch {
		case err == nil:
		case isTooLarge(err):
			hold(batch[stored].event, err)
			events = append(eventsOf(batch[stored+1:]), events...)
		case isElsewhere(err):
			return p.catchUp(ctx, done)
		default:
			return done, fmt.Errorf("publish event %d of request %s: %w", batch[stored].event.ID, batch[stored].event.RequestID, err)
		}
	}
	return done, summary(failures)
}

// message is an event and what is sent of it.
type message struct {
	event provision.Event
	msg   *nats.Msg
}

// fill takes the next batch off the events, without those that are held up.
func (p *Events) fill(events []provision.Event, held map[string]bool, hold func(provision.Event, error)) (batch []message, rest []provision.Event) {
	limit := int(p.js.Conn().MaxPayload()) - headerRoom
	bytes := 0
	for n, e := range events {
		if len(batch) == maxBatched || bytes >= batchBytes {
			return batch, events[n:]
		}
		if held[e.RequestID] {
			continue
		}
		msg, err := eventMessage(e)
		if err == nil && len(msg.Data) > limit {
			err = fmt.Errorf("%w: %d bytes", nats.ErrMaxPayload, len(msg.Data))
		}
		if err != nil {
			hold(e, err)
			continue
		}
		batch = append(batch, message{e, msg})
		bytes += len(msg.Data)
	}
	return batch, nil
}

func eventsOf(batch []message) []provision.Event {
	events := make([]provision.Event, len(batch))
	for n, m := range batch {
		events[n] = m.event
	}
	return events
}

// send puts the messages into the stream, in their order, right behind the message
// at last, and returns how many of them it has.
func (p *Events) send(ctx context.Context, last uint64, batch []message) (stored int, err error) {
	if len(batch) < smallBatch {
		return p.sendEach(ctx, last, batch)
	}
	msgs := make([]*nats.Msg, len(batch))
	for n, m := range batch {
		msgs[n] = m.msg
	}
	// Of a batch only the first message can say what it expects.
	msgs[0].Header.Set(jetstream.ExpectedStreamHeader, EventsStream)
	msgs[0].Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(last, 10))
	ack, err := jetstreamext.PublishMsgBatch(ctx, p.js, msgs, jetstreamext.BatchFlowControl{AckFirst: false})
	switch {
	case err == nil && ack.Sequence != last+uint64(len(batch)):
		return 0, fmt.Errorf("the stream put %d messages behind %d and says that the last is at %d", len(batch), last, ack.Sequence)
	case err == nil:
		return len(batch), nil
	case isBatchTrouble(err):
		for n, m := range batch {
			if batch[n].msg, err = eventMessage(m.event); err != nil {
				return 0, err
			}
		}
		return p.sendEach(ctx, last, batch)
	}
	return 0, err
}

// sendEach does the same one by one. Each is sent once the one before it is stored: of
// several on their way, a later one would fit behind what somebody else has stored
// where the first one does not.
func (p *Events) sendEach(ctx context.Context, last uint64, batch []message) (stored int, err error) {
	for _, m := range batch {
		ack, err := p.js.PublishMsg(ctx, m.msg, jetstream.WithExpectStream(EventsStream), jetstream.WithExpectLastSequence(last+uint64(stored)))
		switch {
		case err != nil:
			return stored, err
		case ack.Duplicate || ack.Sequence != last+uint64(stored)+1:
			return stored, errElsewhere
		}
		stored++
	}
	return stored, nil
}

// errElsewhere means that the stream has more, or less, than was thought.
var errElsewhere = errors.New("the last message of the stream is another one")

// isElsewhere reports whether the stream refused messages because of those that it
// has: another one than the expected is its last, or one of them is there already.
func isElsewhere(err error) bool {
	return errors.Is(err, errElsewhere) || hasCode(err, jetstream.JSErrCodeStreamWrongLastSequence,
		jetstream.JSErrCodeStreamWrongLastSequenceConstant, jetstreamext.JSErrCodeBatchPublishDuplicateMsgID)
}

// isBatchTrouble reports whether a batch was refused for what single messages may do:
// a limit of the server for batches, a stream that takes none any more, or one message
// that the stream does not take, which leaves a gap.
func isBatchTrouble(err error) bool {
	return hasCode(err, jetstreamext.JSErrCodeBatchPublishExceedsLimit, jetstreamext.JSErrCodeBatchPublishIncomplete,
		jetstreamext.JSErrCodeAtomicPublishTooManyInflight, jetstreamext.JSErrCodeBatchPublishNotEnabled) || isTooLarge(err)
}

// isTooLarge reports whether the stream refused a message for its size.
func isTooLarge(err error) bool {
	const codeMessageTooLarge, codeHeadersTooLarge = 10054, 10097
	return hasCode(err, codeMessageTooLarge, codeHeadersTooLarge)
}

func hasCode(err error, codes ...jetstream.ErrorCode) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && slices.Contains(codes, api.ErrorCode)
}

// summary keeps an error short when the same thing failed for a thousand events.
func summary(failures []error) error {
	if len(failures) > 1 {
		return fmt.Errorf("%w, and %d more requests", failures[0], len(failures)-1)
	}
	return errors.Join(failures...)
}
