package queue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
)

const (
	maxID     = 128 // characters
	maxHeader = 256 // bytes of any other header of ours
)

// toMessage reads a delivery. What is wrong with the headers becomes the
// message's Problem, and the value that was wrong is left out. outlived tells
// when its consumer is not there any more.
func toMessage(msg jetstream.Msg, outlived *atomic.Bool) (provision.Message, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return provision.Message{}, fmt.Errorf("read the place of a message in %s: %w", RequestsStream, err)
	}
	m := provision.Message{
		Body:       msg.Data(),
		ReceivedAt: meta.Timestamp,
		Sequence:   meta.Sequence.Stream,
		Settle:     settler{msg, outlived},
	}
	var problems []string
	read := func(name string, check func(string) string) string {
		value, ok := lookUp(msg.Headers(), name)
		if !ok {
			return ""
		}
		if problem := check(value); problem != "" {
			problems = append(problems, fmt.Sprintf("header %s %s", name, problem))
			return ""
		}
		return value
	}
	m.ID = read(jetstream.MsgIDHeader, checkID)
	m.ProjectID = read(HeaderProjectID, checkText)
	m.RequestedBy = read(HeaderRequestedBy, checkText)
	m.Traceparent = read(HeaderTraceparent, checkText)
	m.Problem = strings.Join(problems, "; ")
	if m.ID == "" {
		m.ID = derivedID(m.ReceivedAt, m.Sequence)
	}
	return m, nil
}

// derivedID names a message whose publisher did not: auto-<time>-<sequence>,
// with the time at which the stream stored it (nanoseconds since 1970, base 36)
// and its sequence in the stream (decimal), which the publisher knows from the
// receipt. Both stay the same at every delivery. A stream that is made anew
// counts from one again, but its clock does not.
func derivedID(stored time.Time, sequence uint64) string {
	return "auto-" + strconv.FormatInt(stored.UnixNano(), 36) + "-" + strconv.FormatUint(sequence, 10)
}

// lookUp finds a header as it is documented, or else in any other case: NATS
// tells Traceparent from traceparent, and half the world's clients do not.
func lookUp(headers nats.Header, name string) (string, bool) {
	if values := headers[name]; len(values) > 0 {
		return values[0], true
	}
	// Two odd spellings at once are settled by their order, the same each time.
	found, value := "", ""
	for key, values := range headers {
		if len(values) > 0 && strings.EqualFold(key, name) && (found == "" || key < found) {
			found, value = key, values[0]
		}
	}
	return value, found != ""
}

// checkID says what is wrong with a request's id, or nothing.
func checkID(id string) string {
	switch {
	case id == "":
		return fmt.Sprintf("is empty; give 1 to %d printable ASCII characters, or leave it out", maxID)
	case len(id) > maxID:
		return fmt.Sprintf("has %d bytes; allowed are 1 to %d printable ASCII characters", len(id), maxID)
	case strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }):
		return "has a character that is not printable ASCII"
	}
	return ""
}

// checkText says what is wrong with a short text, or nothing.
func checkText(text string) string {
	switch {
	case len(text) > maxHeader:
		return fmt.Sprintf("has %d bytes; allowed are %d", len(text), maxHeader)
	case !utf8.ValidString(text):
		return "is not UTF-8"
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has a character that cannot be printed"
	}
	return ""
}

// oneLine makes text fit into a header: no line breaks and at most limit bytes.
func oneLine(text string, limit int) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), unicode.IsControl), " ")
	if len(text) <= limit {
		return text
	}
	const ellipsis = "…"
	cut := limit - len(ellipsis)
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + ellipsis
}

// errOutlived is harmless: what was taken in twice is recognized.
var errOutlived = errors.New("the consumer was made anew since; if the stream still has the message, it is delivered again")

// settler answers for one delivery; nothing in it waits for the server.
//
// The server does not tell the acknowledgement of an earlier consumer's delivery
// from its own: in a stream that was made anew, it would remove whatever message
// has the same sequence now. So a delivery is not settled beyond the life of its
// consumer.
type settler struct {
	msg      jetstream.Msg
	outlived *atomic.Bool
}

func (s settler) Ack() error { return s.settle(s.msg.Ack) }

func (s settler) Term(reason string) error {
	const maxReason = 256 // it travels in an advisory
	return s.settle(func() error { return s.msg.TermWithReason(oneLine(reason, maxReason)) })
}

func (s settler) Nak(d time.Duration) error {
	if d <= 0 {
		return s.settle(s.msg.Nak)
	}
	return s.settle(func() error { return s.msg.NakWithDelay(d) })
}

func (s settler) settle(how func() error) error {
	if s.outlived.Load() {
		return errOutlived
	}
	return how()
}
