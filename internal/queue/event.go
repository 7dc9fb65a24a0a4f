package queue

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
)

// EventSubject is the subject of a request's events. An id that is not a
// subject token, or that looks like an encoded one, goes encoded.
func EventSubject(requestID string) string {
	const encoded = "b64-"
	plain := requestID != "" && !strings.HasPrefix(requestID, encoded) &&
		!strings.ContainsFunc(requestID, func(r rune) bool {
			return r <= ' ' || r > '~' || strings.ContainsRune(".*>", r)
		})
	if plain {
		return eventsPrefix + requestID
	}
	return eventsPrefix + encoded + base64.RawURLEncoding.EncodeToString([]byte(requestID))
}

// eventMessage is an event as it is published.
func eventMessage(e provision.Event) (*nats.Msg, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write event %d of request %s: %w", e.ID, e.RequestID, err)
	}
	msg := nats.NewMsg(EventSubject(e.RequestID))
	msg.Data = body
	msg.Header.Set(jetstream.MsgIDHeader, strconv.FormatInt(e.ID, 10))
	if e.Concerns != 0 {
		msg.Header.Set(HeaderConcerns, strconv.FormatUint(e.Concerns, 10))
	}
	return msg, nil
}

// ParseEvent reads a message of DDS_EVENTS.
func ParseEvent(headers nats.Header, body []byte) (provision.Event, error) {
	var e provision.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return provision.Event{}, fmt.Errorf("read an event: %w", err)
	}
	if text := headers.Get(HeaderConcerns); text != "" {
		concerns, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return provision.Event{}, fmt.Errorf("read header %s of event %d: %w", HeaderConcerns, e.ID, err)
		}
		e.Concerns = concerns
	}
	return e, nil
}
