package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// settlement is how long Setup waits before it verifies whose a stream is that it
// wrote its own name into: much longer than others take from a look that found no
// name to a write of theirs.
const settlement = time.Second

// Setup makes the streams and the consumer that are missing and verifies the
// others as Check does. It writes the installation into streams that have none,
// and the first recipient into DDS_REQUESTS where that publishes none or another
// one of the layout; it narrows a duplicate window that is too wide, lets DDS_EVENTS
// take batches and give single messages, and gives the consumer the AckWait and
// MaxAckPending of the layout, and no BackOff, which would overrule them.
//
// Of several that write different names into a stream at the same time, the one
// that wrote last passes: each looks again after a second. A server cannot be told
// to update only what was read, so one that stood still for longer between its look
// and its write overwrites the other; a Guard notices that.
func Setup(ctx context.Context, js jetstream.JetStream, l Layout) error {
	for _, want := range l.streams() {
		if err := setUpStream(ctx, js, l, want); err != nil {
			return err
		}
	}
	return setUpConsumer(ctx, js, l.consumer())
}

// Adopt writes the layout's installation and epoch into all streams, whatever was
// there, and no recipient: that is Setup's to verify and to write, and so are
// streams that are missing.
func Adopt(ctx context.Context, js jetstream.JetStream, l Layout) error {
	l.Recipients = nil
	for _, want := range l.streams() {
		have, err := readStream(ctx, js, want.Name)
		if err != nil {
			return err
		}
		if have == nil {
			continue
		}
		if err := updateStream(ctx, js, want, *have); err != nil {
			return err
		}
	}
	return nil
}

func setUpStream(ctx context.Context, js jetstream.JetStream, l Layout, want jetstream.StreamConfig) error {
	have, err := readStream(ctx, js, want.Name)
	if err != nil {
		return err
	}
	if have == nil {
		_, err := js.CreateStream(ctx, want)
		if err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("make stream %s with subject %s and %d bytes: %w; check the limits of the NATS account and the other streams",
				want.Name, names(want.Subjects), want.MaxBytes, err)
		}
		// Somebody else was faster.
		if have, err = readStream(ctx, js, want.Name); err != nil {
			return err
		}
		if have == nil {
			return fmt.Errorf("stream %s was made and removed while it was being set up: try again", want.Name)
		}
	}
	if err := l.verifyStream(want, *have); err != nil {
		return err
	}
	known := describes(*have, want.Metadata)
	if known && !tooWide(want, *have) && !lacksBatches(want, *have) && !lacksDirect(want, *have) {
		return nil
	}
	if err := updateStream(ctx, js, want, *have); err != nil || known {
		return err
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("verify what was written into stream %s: %w", want.Name, ctx.Err())
	case <-time.After(settlement):
	}
	_, err = checkStream(ctx, js, l, want)
	return err
}

// updateStream writes what a stream that exists takes over from want.
func updateStream(ctx context.Context, js jetstream.JetStream, want, have jetstream.StreamConfig) error {
	if tooWide(want, have) {
		have.Duplicates = want.Duplicates
	}
	have.AllowAtomicPublish = have.AllowAtomicPublish || want.AllowAtomicPublish
	have.AllowDirect = have.AllowDirect || want.AllowDirect
	have.Metadata = maps.Clone(have.Metadata)
	if have.Metadata == nil {
		have.Metadata = map[string]string{}
	}
	maps.Copy(have.Metadata, want.Metadata)
	if _, err := js.UpdateStream(ctx, have); err != nil {
		return fmt.Errorf("update stream %s: %w", want.Name, err)
	}
	return nil
}

func setUpConsumer(ctx context.Context, js jetstream.JetStream, want jetstream.ConsumerConfig) error {
	info, err := readConsumer(ctx, js)
	if err != nil {
		return err
	}
	if info != nil {
		have := info.Config
		if err := verifyConsumer(want, have); err != nil {
			return err
		}
		if have.AckWait == want.AckWait && have.MaxAckPending == want.MaxAckPending && len(have.BackOff) == 0 {
			return nil
		}
		have.AckWait, have.MaxAckPending, have.BackOff = want.AckWait, want.MaxAckPending, nil
		want = have
	}
	if _, err := js.CreateOrUpdateConsumer(ctx, RequestsStream, want); err != nil {
		return fmt.Errorf("make consumer %s of stream %s: %w; a work queue allows no second consumer, remove others with `nats consumer rm %s`",
			ConsumerName, RequestsStream, err, RequestsStream)
	}
	return nil
}

// readStream returns how a stream is configured; nil where there is none.
func readStream(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.StreamConfig, error) {
	info, err := readInfo(ctx, js, name)
	if info == nil {
		return nil, err
	}
	return &info.Config, nil
}

// unheard is how long a question waits until it is asked once more: right after its
// start nats-server 2.15 leaves one in some hundreds without an answer.
const unheard = time.Second

// readInfo returns nil where there is no such stream.
func readInfo(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.StreamInfo, error) {
	first, cancel := context.WithTimeout(ctx, unheard)
	stream, err := js.Stream(first, name)
	cancel()
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		stream, err = js.Stream(ctx, name)
	}
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, nil
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return nil, fmt.Errorf("read stream %s: %w; start nats-server with JetStream (-js) and enable it for the account", name, err)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("read stream %s: no answer (%w); a NATS user without the right to publish to $JS.API.STREAM.INFO.%s gets none",
			name, err, name)
	case err != nil:
		return nil, fmt.Errorf("read stream %s: %w", name, err)
	}
	return stream.CachedInfo(), nil
}

// readConsumer returns nil where there is no such consumer.
func readConsumer(ctx context.Context, js jetstream.JetStream) (*jetstream.ConsumerInfo, error) {
	consumer, err := js.Consumer(ctx, RequestsStream, ConsumerName)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil, nil
	case errors.Is(err, jetstream.ErrNotPullConsumer):
		return nil, fmt.Errorf("%w: consumer %s of stream %s pushes; remove it with `nats consumer rm %s %s` and run `worker migrate`",
			ErrDiffers, ConsumerName, RequestsStream, RequestsStream, ConsumerName)
	case err != nil:
		return nil, fmt.Errorf("read consumer %s of stream %s: %w", ConsumerName, RequestsStream, err)
	}
	return consumer.CachedInfo(), nil
}

// describes reports whether a stream's metadata says all this.
func describes(have jetstream.StreamConfig, metadata map[string]string) bool {
	for key, value := range metadata {
		if have.Metadata[key] != value {
			return false
		}
	}
	return true
}

// tooWide reports whether a stream drops duplicates for longer than it should.
func tooWide(want, have jetstream.StreamConfig) bool {
	return want.Duplicates > 0 && have.Duplicates > want.Duplicates
}

// lacksBatches reports whether a stream refuses batches that it should take.
func lacksBatches(want, have jetstream.StreamConfig) bool {
	return want.AllowAtomicPublish && !have.AllowAtomicPublish
}

// lacksDirect reports whether a stream refuses to give single messages although it
// should, as it takes who may read the rest to ask it otherwise.
func lacksDirect(want, have jetstream.StreamConfig) bool {
	return want.AllowDirect && !have.AllowDirect
}
