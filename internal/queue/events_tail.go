package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"ddsworker/internal/provision"
)

// catchUp adds to done the events that the stream has behind it: some relay
// published them, and could not note it or is about to. It reads a limited number;
// the next one continues there.
func (p *Events) catchUp(ctx context.Context, done provision.Published) (provision.Published, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	stream, err := p.js.Stream(ctx, EventsStream)
	if err != nil {
		return done, fmt.Errorf("read stream %s: %w", EventsStream, err)
	}
	state := stream.CachedInfo().State
	if state.LastSeq < done.Last {
		// It was made anew, or put back. Nobody publishes behind a place that was not
		// noted before, so there is nothing in it that is not noted.
		done.Last = state.LastSeq
		return done, nil
	}
	if state.LastSeq == done.Last {
		return done, fmt.Errorf("stream %s refused what belongs behind message %d, which is its last: try again", EventsStream, done.Last)
	}
	ids, last, err := p.readBehind(ctx, done.Last)
	if err != nil {
		return done, fmt.Errorf("read stream %s behind message %d: %w", EventsStream, done.Last, err)
	}
	if last == done.Last {
		if err := areGone(ctx, stream, last+1, state); err != nil {
			return done, err
		}
		last = state.LastSeq
	}
	done.IDs = append(done.IDs, ids...)
	done.Last = last
	return done, nil
}

// headerBefore is where the server tells the place of the message that it sent before.
const headerBefore = "Nats-Last-Sequence"

// readBehind returns the ids of some events behind a message, and the place of the
// last message that it read, the same if there is none. What cannot be read is
// nobody's event.
func (p *Events) readBehind(ctx context.Context, sequence uint64) (ids []int64, last uint64, err error) {
	last = sequence
	messages, err := jetstreamext.GetBatch(ctx, p.js, EventsStream, maxBatched,
		jetstreamext.GetBatchSeq(sequence+1), jetstreamext.GetBatchMaxBytes(2*batchBytes))
	if err != nil {
		return nil, 0, err
	}
	for msg, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return ids, last, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if last > sequence && msg.Header.Get(headerBefore) != strconv.FormatUint(last, 10) {
			return nil, 0, fmt.Errorf("the message before %d was lost on its way: try again", msg.Sequence)
		}
		if e, err := ParseEvent(msg.Header, msg.Data); err == nil {
			ids = append(ids, e.ID)
		}
		last = msg.Sequence
	}
	return ids, last, nil
}

// areGone checks that the stream has no message from first on. Any replica may
// answer who reads messages, and one that lags behind shows too few.
func areGone(ctx context.Context, stream jetstream.Stream, first uint64, state jetstream.StreamState) error {
	lags := fmt.Errorf("a replica of stream %s does not have its message %d yet: try again", EventsStream, first)
	switch {
	case state.Msgs == 0:
		return nil
	case state.NumDeleted == 0 || state.NumDeleted > maxDetails:
		return lags
	}
	info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", EventsStream, err)
	}
	for sequence := max(first, info.State.FirstSeq); sequence <= state.LastSeq; sequence++ {
		if !slices.Contains(info.State.Deleted, sequence) {
			return lags
		}
	}
	return nil
}
