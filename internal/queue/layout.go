package queue

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// installationKey and epochKey hold, in the metadata of each stream, whose stream it
// is: which installation's, and since which of its recoveries.
const (
	installationKey = "ddsworker-installation"
	epochKey        = "ddsworker-epoch"
)

// duplicateWindow is the smallest that a server allows. A larger one would let
// the stream drop a message that reuses an id with another body in silence;
// telling the two apart is the database's work.
const duplicateWindow = 100 * time.Millisecond

// Layout says how the streams are made. Zero values take their defaults. For
// streams that exist only Installation, Epoch, Recipients, AckWait and MaxAckPending
// matter.
type Layout struct {
	// Installation says whose streams these are; empty: not written, not compared.
	Installation string
	Epoch        int // of the installation; 0: not written, not compared
	// Recipients are the age recipients of the identities that this worker has.
	// Publishers seal for the first, which DDS_REQUESTS publishes; empty: not
	// written, not compared.
	Recipients []string
	// ReplaceRecipient lets Setup replace a recipient that is none of Recipients.
	ReplaceRecipient bool

	Replicas         int           // default 1
	RequestsMaxBytes int64         // default 1 GiB; a full stream refuses requests
	RejectedMaxBytes int64         // default 256 MiB; a full one drops its oldest
	EventsMaxBytes   int64         // default 1 GiB; a full one drops its oldest
	EventsMaxAge     time.Duration // default 7 days
	AckWait          time.Duration // until an unsettled delivery is repeated; default 30 s
	MaxAckPending    int           // unsettled deliveries of the whole fleet; default 20,000
}

// streams are the streams as they should be.
func (l Layout) streams() []jetstream.StreamConfig {
	const day = 24 * time.Hour
	common := jetstream.StreamConfig{
		Storage:  jetstream.FileStorage,
		Replicas: orDefault(l.Replicas, 1),
	}
	if l.Installation != "" {
		common.Metadata = map[string]string{installationKey: l.Installation}
		if l.Epoch != 0 {
			common.Metadata[epochKey] = strconv.Itoa(l.Epoch)
		}
	}
	requests, rejected, events := common, common, common

	if len(l.Recipients) > 0 {
		requests.Metadata = map[string]string{recipientKey: l.Recipients[0]}
		maps.Copy(requests.Metadata, common.Metadata)
	}
	requests.Name = RequestsStream
	requests.Description = "requests that no worker has taken in yet"
	requests.Subjects = []string{RequestsSubject}
	requests.Retention = jetstream.WorkQueuePolicy
	requests.Discard = jetstream.DiscardNew
	requests.Duplicates = duplicateWindow
	requests.MaxBytes = orDefault(l.RequestsMaxBytes, 1<<30)

	rejected.Name = RejectedStream
	rejected.Description = "copies of messages that were refused, with the reason"
	rejected.Subjects = []string{RejectedSubject}
	rejected.Retention = jetstream.LimitsPolicy
	rejected.Discard = jetstream.DiscardOld
	rejected.MaxAge = 30 * day
	rejected.MaxBytes = orDefault(l.RejectedMaxBytes, 256<<20)

	events.Name = EventsStream
	events.Description = "what happened to each request"
	events.Subjects = []string{eventsPrefix + "*"}
	events.Retention = jetstream.LimitsPolicy
	events.Discard = jetstream.DiscardOld
	events.MaxAge = orDefault(l.EventsMaxAge, 7*day)
	events.MaxBytes = orDefault(l.EventsMaxBytes, 1<<30)
	// Events are fenced by their place. To know their ids for longer than must be would
	// only cost the server time and memory.
	events.Duplicates = duplicateWindow
	events.AllowDirect = true
	events.AllowAtomicPublish = true

	return []jetstream.StreamConfig{requests, rejected, events}
}

// consumer is the durable consumer as it should be. It has no BackOff: that
// would distort the delays of a Nak.
func (l Layout) consumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       ConsumerName,
		Description:   "shared by all workers",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       orDefault(l.AckWait, 30*time.Second),
		MaxAckPending: orDefault(l.MaxAckPending, 20_000),
		MaxDeliver:    -1,
	}
}

// streamDifferences lists what loses or hides messages where have is not like want.
// Sizes, replicas and ages are the operator's business, but for the age of requests:
// one that expires is lost. So is what a stream drops because of others with its
// subject; only of DDS_REJECTED, which has one subject and may be short, that is a size.
func streamDifferences(want, have jetstream.StreamConfig) []string {
	var d differences
	d.compare("retention", have.Retention, want.Retention)
	d.compare("storage", have.Storage, want.Storage)
	d.compare("persist mode", have.PersistMode, want.PersistMode)
	d.compare("discard", have.Discard, want.Discard)
	d.compare("subjects", names(have.Subjects), names(want.Subjects))
	d.compare("subject transform", have.SubjectTransform != nil, false)
	d.compare("mirror", have.Mirror != nil, false)
	d.compare("number of sources", len(have.Sources), 0)
	d.compare("sealed", have.Sealed, false)
	d.compare("no_ack", have.NoAck, false)
	// Each of these lets the header of a message remove or hold back messages.
	d.compare("allow_rollup_hdrs", have.AllowRollup, false)
	d.compare("allow_msg_ttl", have.AllowMsgTTL, false)
	d.compare("allow_msg_schedules", have.AllowMsgSchedules, false)
	d.compare("allow_msg_counter", have.AllowMsgCounter, false)
	if want.Retention == jetstream.WorkQueuePolicy {
		d.compare("max age", have.MaxAge, want.MaxAge)
	}
	if want.Name != RejectedStream && have.MaxMsgsPerSubject > 0 {
		d.compare("max messages per subject", have.MaxMsgsPerSubject, -1)
	}
	return d
}

// consumerDifferences does the same for the consumer.
func consumerDifferences(want, have jetstream.ConsumerConfig) []string {
	var d differences
	d.compare("acknowledgement", have.AckPolicy, want.AckPolicy)
	d.compare("max deliveries", have.MaxDeliver, want.MaxDeliver)
	d.compare("filter", names(slices.Concat(have.FilterSubjects, []string{have.FilterSubject})), names(nil))
	d.compare("deliver policy", have.DeliverPolicy, want.DeliverPolicy)
	d.compare("replay", have.ReplayPolicy, want.ReplayPolicy)
	d.compare("headers_only", have.HeadersOnly, want.HeadersOnly)
	return d
}

type differences []string

func (d *differences) compare(what string, have, want any) {
	if have != want {
		*d = append(*d, fmt.Sprintf("%s is %v, should be %v", what, have, want))
	}
}

// names makes a list of subjects comparable and readable.
func names(list []string) string {
	list = slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "" })
	slices.Sort(list)
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
