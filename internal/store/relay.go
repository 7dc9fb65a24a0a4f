package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

// Lead implements provision.RelayStore. The lead ends with the connection that
// holds it; a process that lost it without noticing is fenced by the stream.
func (s *Store) Lead(ctx context.Context) (release func(), ok bool, err error) {
	_, release, err = s.lead(ctx, relayLock)
	return release, err == nil && release != nil, err
}

// Unpublished implements provision.RelayStore. Events and place are of one snapshot:
// beside a newer place, events that somebody noted meanwhile would be published
// again.
//
// For each request the order of the ids is that in which its events were committed,
// because whoever writes one holds a lock of its request from before the event gets
// its id until the commit. So who sees an event sees all earlier ones of its
// request, or they are published.
func (s *Store) Unpublished(ctx context.Context, limit int) (events []provision.Event, after uint64, err error) {
	rows, err := s.pool.Query(ctx, `
		select id, request_id, at, kind, state, progress, coalesce(instance_id, ''), coalesce(job_id, ''),
			error_code, coalesce(error_message, ''), coalesce(error_class, ''), coalesce(concerns, 0),
			(select sequence from relay)
		from events where id = any(array(select event_id from outbox order by event_id limit $1)) order by id`, limit)
	if err != nil {
		return nil, 0, translate(err)
	}
	events, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e provision.Event, err error) {
		var code *string
		var message, class string
		var at time.Time
		err = row.Scan(&e.ID, &e.RequestID, &at, &e.Kind, &e.State, &e.Progress, &e.InstanceID, &e.JobID,
			&code, &message, &class, &e.Concerns, &after)
		e.At = at.UTC()
		if code != nil || message != "" {
			e.Error = &provision.EventError{Message: message, Class: class}
			if code != nil {
				e.Error.Code = *code
			}
		}
		return e, err
	})
	return events, after, translate(err)
}

// MarkPublished implements provision.RelayStore. What is in the stream leaves the
// outbox whoever published it; but the place of a relay that was paused is old.
func (s *Store) MarkPublished(ctx context.Context, p provision.Published) error {
	_, err := s.pool.Exec(ctx, `
		with published as (delete from outbox where event_id = any($1::bigint[]))
		update relay set sequence = $3 where sequence = $2`, p.IDs, int64(p.After), int64(p.Last))
	return translate(err)
}
