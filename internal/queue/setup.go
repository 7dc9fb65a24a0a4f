package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// ForeignError says that a stream belongs to another installation: this one was
// restored or cloned, or points at somebody else's NATS.
type ForeignError struct {
	Stream     string
	Have, Want string // installations
}

// Error names the stream, both installations and what to do.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("stream %s belongs to installation %q, and this one is %q: check NATS_URL and DATABASE_URL; "+
		"a copy of a database needs a NATS of its own", e.Stream, e.Have, e.Want)
}

// Unwrap returns ErrDiffers.
func (e *ForeignError) Unwrap() error { return ErrDiffers }

// Setup makes the streams and the consumer that are missing and verifies the
// others as Check does. It writes the installation into streams that have none,
// and the first recipient into DDS_REQUESTS where that publishes none or another
// one of the layout; it narrows a duplicate window that is too wide, and gives
// the consumer the AckWait and MaxAckPending of the layout.
func Setup(ctx context.Context, js jetstream.JetStream, l Layout) error {
	for _, want := range l.streams() {
		if err := setUpStream(ctx, js, l, want); err != nil {
			return err
		}
	}
	return setUpConsumer(ctx, js, l.consumer())
}

// Check verifies the streams and the consumer and changes nothing. Its error
// lists what is missing or differs in a way that would break a promise, with
// what is there, what should be, and what to do. A stream of another
// installation is a *ForeignError. What only people can mend is an ErrDiffers.
func Check(ctx context.Context, js jetstream.JetStream, l Layout) error {
	for _, want := range l.streams() {
		have, err := readStream(ctx, js, want.Name)
		if err != nil {
			return err
		}
		if have == nil {
			return fmt.Errorf("stream %s is missing: run `worker migrate`", want.Name)
		}
		if err := l.verifyStream(want, *have); err != nil {
			return err
		}
		if want.Metadata[recipientKey] != "" && have.Metadata[recipientKey] == "" {
			return fmt.Errorf("stream %s publishes no recipient to seal passwords for: run `worker migrate`", want.Name)
		}
		if tooWide(want, *have) {
			return fmt.Errorf("stream %s takes messages within %v for duplicates, which should be %v: run `worker migrate`",
				want.Name, have.Duplicates, want.Duplicates)
		}
	}
	want := l.consumer()
	have, err := readConsumer(ctx, js)
	if err != nil {
		return err
	}
	if have == nil {
		return fmt.Errorf("consumer %s of stream %s is missing: run `worker migrate`", ConsumerName, RequestsStream)
	}
	return verifyConsumer(want, *have)
}

// Adopt writes the layout's installation into all streams, whatever was there,
// and no recipient: that is Setup's to verify and to write.
func Adopt(ctx context.Context, js jetstream.JetStream, l Layout) error {
	l.Recipients = nil
	for _, want := range l.streams() {
		have, err := readStream(ctx, js, want.Name)
		if err != nil {
			return err
		}
		if have == nil {
			return fmt.Errorf("stream %s is missing: run `worker migrate`", want.Name)
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
	if describes(*have, want.Metadata) && !tooWide(want, *have) {
		return nil
	}
	return updateStream(ctx, js, want, *have)
}

// updateStream writes what a stream that exists takes over from want.
func updateStream(ctx context.Context, js jetstream.JetStream, want, have jetstream.StreamConfig) error {
	if tooWide(want, have) {
		have.Duplicates = want.Duplicates
	}
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
	have, err := readConsumer(ctx, js)
	if err != nil {
		return err
	}
	if have != nil {
		if err := verifyConsumer(want, *have); err != nil {
			return err
		}
		if have.AckWait == want.AckWait && have.MaxAckPending == want.MaxAckPending {
			return nil
		}
		have.AckWait, have.MaxAckPending = want.AckWait, want.MaxAckPending
		want = *have
	}
	if _, err := js.CreateOrUpdateConsumer(ctx, RequestsStream, want); err != nil {
		return fmt.Errorf("make consumer %s of stream %s: %w; a work queue allows no second consumer, remove others with `nats consumer rm %s`",
			ConsumerName, RequestsStream, err, RequestsStream)
	}
	return nil
}

// readStream returns nil where there is no such stream.
func readStream(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.StreamConfig, error) {
	stream, err := js.Stream(ctx, name)
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
	return &stream.CachedInfo().Config, nil
}

// readConsumer returns nil where there is no such consumer.
func readConsumer(ctx context.Context, js jetstream.JetStream) (*jetstream.ConsumerConfig, error) {
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
	return &consumer.CachedInfo().Config, nil
}

func (l Layout) verifyStream(want, have jetstream.StreamConfig) error {
	if list := streamDifferences(want, have); len(list) > 0 {
		return fmt.Errorf("%w: stream %s is not as it must be: %s; edit it with `nats stream edit %s`, or, as storage and retention "+
			"cannot be edited, empty it, remove it and run `worker migrate`", ErrDiffers, want.Name, strings.Join(list, "; "), want.Name)
	}
	there, ours := have.Metadata[installationKey], want.Metadata[installationKey]
	if there != "" && ours != "" && there != ours {
		return &ForeignError{Stream: want.Name, Have: there, Want: ours}
	}
	return l.verifyRecipient(want, have)
}

func verifyConsumer(want, have jetstream.ConsumerConfig) error {
	if list := consumerDifferences(want, have); len(list) > 0 {
		return fmt.Errorf("%w: consumer %s of stream %s is not as it must be: %s; remove it with `nats consumer rm %s %s` and run `worker migrate`",
			ErrDiffers, ConsumerName, RequestsStream, strings.Join(list, "; "), RequestsStream, ConsumerName)
	}
	return nil
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
