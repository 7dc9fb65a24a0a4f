package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Request is what a publisher sends. Empty fields are left out.
type Request struct {
	ID          string // 1 to 128 printable ASCII characters; without it a worker derives one
	ProjectID   string
	RequestedBy string
	Traceparent string
	Body        []byte // of the cloud's create call, JSON
}

// Publisher publishes requests. It may be used by many goroutines at once, each
// waiting for its own receipt.
type Publisher struct {
	js      jetstream.JetStream
	timeout time.Duration
}

// NewPublisher returns a Publisher that waits at most timeout for a receipt;
// zero: 10 s.
func NewPublisher(js jetstream.JetStream, timeout time.Duration) *Publisher {
	return &Publisher{js: js, timeout: orDefault(timeout, 10*time.Second)}
}

// Publish stores a request in DDS_REQUESTS and returns its sequence there. When
// it returns, the request is stored; on an error it says whether it may be, and
// what to do.
func (p *Publisher) Publish(ctx context.Context, r Request) (uint64, error) {
	msg, err := requestMessage(r)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	for {
		ack, err := p.js.PublishMsg(ctx, msg)
		if err != nil {
			return 0, explain(r, err)
		}
		if !ack.Duplicate {
			return ack.Sequence, nil
		}
		// The stream took it for the message with the same id just before it, and
		// did not look at the body. Whether they are the same is for the workers
		// to tell, so it has to be in the stream.
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("request %s was published a moment ago, and %s did not take it again: "+
				"its duplicate window is wider than %v; run `worker migrate`", r.ID, RequestsStream, duplicateWindow)
		case <-time.After(duplicateWindow):
		}
	}
}

// requestMessage refuses what every worker would refuse for its headers.
func requestMessage(r Request) (*nats.Msg, error) {
	msg := nats.NewMsg(RequestsSubject)
	msg.Data = r.Body
	for _, h := range []struct {
		name, value string
		check       func(string) string
	}{
		{jetstream.MsgIDHeader, r.ID, checkID},
		{HeaderProjectID, r.ProjectID, checkText},
		{HeaderRequestedBy, r.RequestedBy, checkText},
		{HeaderTraceparent, r.Traceparent, checkText},
	} {
		if h.value == "" {
			continue
		}
		if problem := h.check(h.value); problem != "" {
			return nil, fmt.Errorf("header %s %s", h.name, problem)
		}
		msg.Header.Set(h.name, h.value)
	}
	return msg, nil
}

// explain says what a failed publish means to the one who did it.
func explain(r Request, err error) error {
	_, refused := errors.AsType[*jetstream.APIError](err)
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("not stored: no stream takes %s (%w); make the streams with `worker migrate` "+
			"or start a worker, and check that NATS_URL is the one the workers use", RequestsSubject, err)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("not stored: the body has %d bytes, more than the NATS server takes: %w", len(r.Body), err)
	case refused:
		return fmt.Errorf("not stored: stream %s refused it: %w; if the stream is full, wait until workers have taken requests in, "+
			"or make it larger with `nats stream edit %s`", RequestsStream, err, RequestsStream)
	case r.ID == "":
		return fmt.Errorf("no receipt: %w; it may be stored, and without an id a second publish would be a second request: "+
			"look into %s and the view provisioning_history first", err, RequestsStream)
	default:
		return fmt.Errorf("no receipt: %w; it may be stored; publish it again with the same id %s, which is harmless", err, r.ID)
	}
}

// maxDetails is how many gaps of a stream are worth reading, about 1 MB of them.
const maxDetails = 100_000

// IsWaiting reports whether the message of DDS_REQUESTS with that sequence still
// waits for a worker. It asks for the state of the stream alone, as a publisher
// may not read what others published.
func IsWaiting(ctx context.Context, js jetstream.JetStream, sequence uint64) (bool, error) {
	stream, err := js.Stream(ctx, RequestsStream)
	if err != nil {
		return false, fmt.Errorf("read stream %s: %w", RequestsStream, err)
	}
	state := stream.CachedInfo().State
	if sequence < state.FirstSeq || sequence > state.LastSeq {
		return false, nil
	}
	if state.NumDeleted == 0 || state.NumDeleted > maxDetails {
		return true, nil
	}
	info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return false, fmt.Errorf("read stream %s: %w", RequestsStream, err)
	}
	return sequence >= info.State.FirstSeq && !slices.Contains(info.State.Deleted, sequence), nil
}
