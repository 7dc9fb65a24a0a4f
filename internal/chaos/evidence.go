package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/dds/ddsfake"
)

// evidence is everything that is known after a run: what the publisher was told,
// what SQL says, what the stream of events says, and the cloud's truth.
type evidence struct {
	Acked    []string
	Reused   map[string]int // publications of another body under an id, acknowledged
	Requests map[string]*history
	Orphans  map[string]string // instance to mark
	Cloud    []ddsfake.Instance
	Calls    []createCall
	Lease    time.Duration // a call that comes later after its intent is late
	// EventsLost: the stream of events was deleted, so it cannot be compared.
	EventsLost bool
}

// history is what SQL and the stream tell about a request.
type history struct {
	ID, State, Mark string
	Attempts        []attempt
	Events          []event
	Instances       []handedOut
	Rejections      int
	Published       []int64 // events, in the order of the stream
}

type attempt struct {
	Number         int
	Worker         string
	Outcome        string // empty: nobody knows
	Class          string
	Code           string
	IntendedAt     time.Time
	CloudRequestID string
	InstanceID     string
}

type event struct {
	ID         int64
	Kind       string
	State      string
	InstanceID string
	Detail     string
}

type handedOut struct {
	InstanceID string
	Adopted    bool
	Gone       bool
}

// gather reads everything once the system has come to rest.
func (s *system) gather(ctx context.Context) (*evidence, error) {
	e := &evidence{Requests: map[string]*history{}, Orphans: map[string]string{}, Cloud: s.cloud.fake.Instances(), Calls: s.cloud.seen()}
	of := func(id string) *history {
		h := e.Requests[id]
		if h == nil {
			h = &history{ID: id}
			e.Requests[id] = h
		}
		return h
	}
	var id string
	var a attempt
	var v event
	var i handedOut
	var state, mark string
	var rejected int
	err := errors.Join(
		s.each(ctx, `select request_id, state, mark::text from requests`, []any{&id, &state, &mark}, func() {
			of(id).State, of(id).Mark = state, mark
		}),
		s.each(ctx, `select request_id, number, worker, coalesce(outcome, ''), coalesce(error_class, ''), coalesce(error_code, ''), intended_at,
			coalesce(cloud_request_id, ''), coalesce(instance_id, '') from attempts order by request_id, number`,
			[]any{&id, &a.Number, &a.Worker, &a.Outcome, &a.Class, &a.Code, &a.IntendedAt, &a.CloudRequestID, &a.InstanceID}, func() {
				of(id).Attempts = append(of(id).Attempts, a)
			}),
		s.each(ctx, `select request_id, id, kind, state, coalesce(instance_id, ''), coalesce(detail, error_message, '') from events order by id`,
			[]any{&id, &v.ID, &v.Kind, &v.State, &v.InstanceID, &v.Detail}, func() {
				of(id).Events = append(of(id).Events, v)
			}),
		s.each(ctx, `select request_id, instance_id, adopted, gone_at is not null from instances order by created_at`,
			[]any{&id, &i.InstanceID, &i.Adopted, &i.Gone}, func() { of(id).Instances = append(of(id).Instances, i) }),
		s.each(ctx, `select request_id, count(*) from rejections group by request_id`, []any{&id, &rejected}, func() { of(id).Rejections = rejected }),
		s.each(ctx, `select instance_id, coalesce(mark, '') from orphans`, []any{&id, &mark}, func() { e.Orphans[id] = mark }),
		s.published(ctx, func(requestID string, eventID int64) {
			of(requestID).Published = append(of(requestID).Published, eventID)
		}))
	return e, err
}

func (s *system) each(ctx context.Context, sql string, into []any, do func()) error {
	rows, err := s.db.Query(ctx, sql)
	if err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	_, err = pgx.ForEachRow(rows, into, func() error { do(); return nil })
	return err
}

// published reads DDS_EVENTS from its beginning to its end.
func (s *system) published(ctx context.Context, do func(requestID string, eventID int64)) error {
	stream, err := s.js.Stream(ctx, "DDS_EVENTS")
	if err != nil {
		return err
	}
	last := stream.CachedInfo().State.LastSeq
	if stream.CachedInfo().State.Msgs == 0 {
		return nil
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read DDS_EVENTS: %w", err)
		}
		var body struct {
			ID        int64  `json:"id"`
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal(msg.Data(), &body); err != nil {
			return fmt.Errorf("read DDS_EVENTS: %w", err)
		}
		do(body.RequestID, body.ID)
		if meta, err := msg.Metadata(); err != nil || meta.Sequence.Stream >= last {
			return err
		}
	}
}
