package queue

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Check verifies the streams and the consumer and changes nothing. Its error
// lists what is missing or differs in a way that would break a promise, with
// what is there, what should be, and what to do. A stream of another
// installation is a *ForeignError. What only people can mend is an ErrDiffers. A
// recipient that is not the first of the layout passes; a Guard warns of it.
func Check(ctx context.Context, js jetstream.JetStream, l Layout) error {
	if _, err := checkStreams(ctx, js, l); err != nil {
		return err
	}
	_, err := checkConsumer(ctx, js, l)
	return err
}

// checkStreams verifies the streams, and returns that of the requests.
func checkStreams(ctx context.Context, js jetstream.JetStream, l Layout) (requests *jetstream.StreamInfo, err error) {
	for _, want := range l.streams() {
		have, err := checkStream(ctx, js, l, want)
		if err != nil {
			return nil, err
		}
		if want.Name == RequestsStream {
			requests = have
		}
	}
	return requests, nil
}

// checkConsumer verifies the consumer and returns what is there.
func checkConsumer(ctx context.Context, js jetstream.JetStream, l Layout) (*jetstream.ConsumerInfo, error) {
	info, err := readConsumer(ctx, js)
	if err != nil {
		return nil, err
	}
	if info == nil {
		return nil, &missingError{"consumer " + ConsumerName + " of stream " + RequestsStream}
	}
	return info, verifyConsumer(l.consumer(), info.Config)
}

// missingError names a stream or the consumer, which is missing.
type missingError struct{ what string }

func (e *missingError) Error() string { return e.what + " is missing: run `worker migrate`" }

// checkPause tells whether somebody paused the consumer: it hands nothing out until
// then, and looks like one that has nothing.
func checkPause(consumer *jetstream.ConsumerInfo) error {
	if !consumer.Paused {
		return nil
	}
	return fmt.Errorf("consumer %s of stream %s is paused until %s: no request is taken in; `nats consumer resume %s %s` ends that",
		ConsumerName, RequestsStream, consumer.Config.PauseUntil.Format(time.RFC3339), RequestsStream, ConsumerName)
}

// checkRoom tells whether the stream of requests has room for one more of the
// largest. What has none refuses publishers, whatever workers do with the rest.
func checkRoom(requests *jetstream.StreamInfo) error {
	have, is := requests.Config, requests.State
	switch {
	case have.MaxBytes > 0 && is.Bytes+largestRequest > uint64(have.MaxBytes):
		return fmt.Errorf("stream %s is full: %d of %d bytes; publishers are refused until workers have taken requests in, or `nats stream edit %s --max-bytes` makes room",
			RequestsStream, is.Bytes, have.MaxBytes, RequestsStream)
	case have.MaxMsgs > 0 && is.Msgs >= uint64(have.MaxMsgs):
		return fmt.Errorf("stream %s is full: %d messages, the most it takes; publishers are refused until workers have taken requests in, or `nats stream edit %s --max-msgs` makes room",
			RequestsStream, is.Msgs, RequestsStream)
	}
	return nil
}

// checkStream verifies one stream and returns what is there.
func checkStream(ctx context.Context, js jetstream.JetStream, l Layout, want jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	info, err := readInfo(ctx, js, want.Name)
	if err != nil {
		return nil, err
	}
	if info == nil {
		return nil, &missingError{"stream " + want.Name}
	}
	have := info.Config
	l.ReplaceRecipient = false
	if err := l.verifyStream(want, have); err != nil {
		return nil, err
	}
	if want.Metadata[recipientKey] != "" && have.Metadata[recipientKey] == "" {
		return nil, fmt.Errorf("stream %s publishes no recipient to seal passwords for: run `worker migrate`", want.Name)
	}
	if tooWide(want, have) {
		return nil, fmt.Errorf("stream %s takes messages within %v for duplicates, which should be %v: run `worker migrate`",
			want.Name, have.Duplicates, want.Duplicates)
	}
	if lacksBatches(want, have) {
		return nil, fmt.Errorf("stream %s takes no batches: run `worker migrate`, with a NATS server of version 2.12 or later", want.Name)
	}
	if lacksDirect(want, have) {
		return nil, fmt.Errorf("stream %s has allow_direct off, so nobody may ask it for one message: run `worker migrate`", want.Name)
	}
	return info, nil
}

func (l Layout) verifyStream(want, have jetstream.StreamConfig) error {
	if list := streamDifferences(want, have); len(list) > 0 {
		return fmt.Errorf("%w: stream %s is not as it must be: %s; edit it with `nats stream edit %s`, or, where that is refused, "+
			"as for storage and retention, empty it, remove it and run `worker migrate`", ErrDiffers, want.Name, strings.Join(list, "; "), want.Name)
	}
	for _, key := range []string{installationKey, epochKey} {
		if there, ours := have.Metadata[key], want.Metadata[key]; there != "" && ours != "" && there != ours {
			return &ForeignError{Stream: want.Name, Have: there, Want: ours, Epoch: key == epochKey}
		}
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
