package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
)

const (
	maxPending = 512 // events that wait for their receipt at once
	maxTries   = 5   // for an event whose predecessor keeps changing
)

// Events publishes to DDS_EVENTS. It implements provision.EventPublisher.
//
// Each event says after which message of its request it belongs, so the stream
// refuses one that comes too late: a relay that was paused cannot publish
// between or behind what its successor published.
type Events struct {
	js jetstream.JetStream
}

var _ provision.EventPublisher = (*Events)(nil)

// NewEvents returns an Events.
func NewEvents(js jetstream.JetStream) *Events { return &Events{js: js} }

// lane is what is left to publish of one request, in its order.
type lane struct {
	subject string
	events  []provision.Event
	after   uint64 // sequence that the subject's last message should have
	tries   int    // for the first of events
}

// Publish publishes each request's events one after the other, and those of
// different requests at the same time. It returns what is known to be in the
// stream, even beside an error. An event that the stream has already, however
// long ago, is returned with its own sequence or that of a later one.
func (p *Events) Publish(ctx context.Context, events []provision.Event) ([]provision.Published, error) {
	lanes := lanesOf(events)
	var published []provision.Published
	var failures []error
	for len(lanes) > 0 {
		var open []*lane
		for chunk := range slices.Chunk(lanes, maxPending) {
			receipts := make([]receipt, len(chunk))
			for i, l := range chunk {
				receipts[i] = p.send(l)
			}
			for i, l := range chunk {
				stored, err := p.settle(ctx, l, receipts[i])
				published = append(published, stored...)
				switch {
				case err != nil:
					failures = append(failures, fmt.Errorf("publish event %d of request %s: %w", l.events[0].ID, l.events[0].RequestID, err))
				case len(l.events) > 0:
					open = append(open, l)
				}
			}
		}
		lanes = open
	}
	return published, summary(failures)
}

func lanesOf(events []provision.Event) []*lane {
	var lanes []*lane
	byRequest := map[string]*lane{}
	for _, e := range events {
		l := byRequest[e.RequestID]
		if l == nil {
			l = &lane{subject: EventSubject(e.RequestID), after: e.After}
			byRequest[e.RequestID] = l
			lanes = append(lanes, l)
		}
		l.events = append(l.events, e)
	}
	return lanes
}

// pass takes the events up to an id off the lane: they are in the stream, the
// last of them at sequence.
func (l *lane) pass(id int64, sequence uint64) []provision.Published {
	var passed []provision.Published
	for len(l.events) > 0 && l.events[0].ID <= id {
		passed = append(passed, provision.Published{ID: l.events[0].ID, Sequence: sequence})
		l.events = l.events[1:]
	}
	l.after, l.tries = sequence, 0
	return passed
}

// receipt is a promise of the stream, or the reason why there is none.
type receipt struct {
	future jetstream.PubAckFuture
	err    error
}

// send publishes the first event of a lane and does not wait.
func (p *Events) send(l *lane) receipt {
	msg, err := eventMessage(l.events[0])
	if err != nil {
		return receipt{err: err}
	}
	future, err := p.js.PublishMsgAsync(msg,
		jetstream.WithExpectStream(EventsStream),
		jetstream.WithExpectLastSequencePerSubject(l.after),
		jetstream.WithStallWait(callTimeout))
	return receipt{future, err}
}

// settle waits for the receipt of a lane's first event, and returns what the
// stream has of the lane. Where that is nothing, and no error either, the lane
// knows its place better now and is sent again.
func (p *Events) settle(ctx context.Context, l *lane, r receipt) ([]provision.Published, error) {
	if r.err != nil {
		return nil, r.err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case ack := <-r.future.Ok():
		return l.pass(l.events[0].ID, ack.Sequence), nil
	case err := <-r.future.Err():
		if !isWrongSequence(err) || l.tries >= maxTries {
			return nil, err
		}
		l.tries++
		return p.locate(ctx, l)
	}
}

// locate asks the stream what it has of a lane's request.
func (p *Events) locate(ctx context.Context, l *lane) ([]provision.Published, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	stream, err := p.js.Stream(ctx, EventsStream)
	if err != nil {
		return nil, err
	}
	last, err := stream.GetLastMsgForSubject(ctx, l.subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		l.after = 0 // what was there has aged out, or the stream is a new one
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// What cannot be read is not ours, so ours comes after it. What can be read
	// is as far as some relay came: everything before it is there, or was.
	if e, err := ParseEvent(last.Header, last.Data); err == nil && e.RequestID == l.events[0].RequestID && e.ID >= l.events[0].ID {
		return l.pass(e.ID, last.Sequence), nil
	}
	l.after = last.Sequence
	return nil, nil
}

// isWrongSequence reports whether the stream refused a message because another
// one than the expected was before it.
func isWrongSequence(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// summary keeps an error short when the same thing failed for a thousand events.
func summary(failures []error) error {
	if len(failures) > 1 {
		return fmt.Errorf("%w, and %d more requests", failures[0], len(failures)-1)
	}
	return errors.Join(failures...)
}
