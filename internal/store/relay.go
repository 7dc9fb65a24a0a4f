package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

// relayLock is the advisory lock of whoever relays: "dds" and 1.
const relayLock = int64('d')<<24 | int64('d')<<16 | int64('s')<<8 | 1

// Lead implements provision.RelayStore. The lead ends with the connection that
// holds it; a process that lost it without noticing is fenced by the stream.
func (s *Store) Lead(ctx context.Context) (release func(), ok bool, err error) {
	_, release, err = s.lead(ctx, relayLock)
	return release, err == nil && release != nil, err
}

// Unpublished implements provision.RelayStore: the oldest events that are not in
// the stream, each with the place of the one before it of the same request.
func (s *Store) Unpublished(ctx context.Context, limit int) ([]provision.Event, error) {
	rows, err := s.pool.Query(ctx, `
		select e.id, e.request_id, e.at, e.kind, e.state, e.progress, coalesce(e.instance_id, ''), coalesce(e.job_id, ''),
			e.error_code, coalesce(e.error_message, ''), coalesce(e.error_class, ''), coalesce(e.concerns, 0),
			coalesce((select b.stream_sequence from events b
				where b.request_id = e.request_id and b.id < e.id order by b.id desc limit 1), 0)
		from events e where e.stream_sequence is null order by e.id limit $1`, limit)
	if err != nil {
		return nil, translate(err)
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e provision.Event, err error) {
		var code *string
		var message, class string
		var at time.Time
		err = row.Scan(&e.ID, &e.RequestID, &at, &e.Kind, &e.State, &e.Progress, &e.InstanceID, &e.JobID,
			&code, &message, &class, &e.Concerns, &e.After)
		e.At = at.UTC()
		if code != nil || message != "" {
			e.Error = &provision.EventError{Message: message, Class: class}
			if code != nil {
				e.Error.Code = *code
			}
		}
		return e, err
	})
	return events, translate(err)
}

// MarkPublished implements provision.RelayStore.
func (s *Store) MarkPublished(ctx context.Context, batch []provision.Published) error {
	_, err := s.pool.Exec(ctx, `
		update events e set stream_sequence = i.sequence
		from unnest($1::bigint[], $2::bigint[]) i(id, sequence) where e.id = i.id`,
		column(batch, func(p provision.Published) int64 { return p.ID }),
		column(batch, func(p provision.Published) int64 { return int64(p.Sequence) }))
	return translate(err)
}
