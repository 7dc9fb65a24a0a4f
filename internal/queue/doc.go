// Package queue is the front door: it takes requests from NATS JetStream, and
// gives events and copies of refused messages back to it.
//
// It promises that a delivery is handed out until somebody settles it, whatever
// happens to the server, the stream or the consumer; that the events of one
// request enter their stream in order and once, even beside a relay that was
// paused; and that nothing it prints or returns holds a password of the address.
// It decides nothing about requests: that is package provision.
package queue

import "time"

// The names that publishers, operators and workers share.
const (
	RequestsStream  = "DDS_REQUESTS"
	RequestsSubject = "dds.requests"
	RejectedStream  = "DDS_REJECTED"
	RejectedSubject = "dds.rejected"
	EventsStream    = "DDS_EVENTS"
	ConsumerName    = "worker" // the durable consumer that all workers share

	eventsPrefix = "dds.events."
)

// Headers of requests, of events and of copies of refused messages. The id of a
// message is in Nats-Msg-Id.
const (
	HeaderProjectID   = "Dds-Project-Id"
	HeaderRequestedBy = "Dds-Requested-By"
	HeaderTraceparent = "traceparent"

	HeaderConcerns = "Dds-Concerns-Sequence" // the one message that an event is about

	HeaderRequestID      = "Dds-Request-Id"
	HeaderRejectedCode   = "Dds-Rejected-Code"
	HeaderRejectedReason = "Dds-Rejected-Reason"
	HeaderBodySize       = "Dds-Body-Size" // of the refused message, bytes
	HeaderBodyWithheld   = "Dds-Body-Withheld"
	HeaderStreamSequence = "Dds-Stream-Sequence"
)

// Parts as they are reported to a health callback.
const (
	PartConnection = "nats"
	PartInbox      = "inbox"
	PartStreams    = "streams"
)

// callTimeout bounds one question to the JetStream API.
const callTimeout = 5 * time.Second

// orDefault returns value, or fallback where value is the zero value.
func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}
