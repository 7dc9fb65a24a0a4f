package store

import (
	"context"
	"slices"
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

// Whole batches are read, in their order, as long as there is room for them; the
// first one in any case.
const unpublishedSQL = `
with next as materialized (
	select batch, events from (
		select batch, events, sum(cardinality(events)) over (order by batch) as total
		from (select batch, events from outbox order by batch limit $1) o
	) o where total <= $1 or total = cardinality(events)
)
select n.batch, e.id, e.request_id, e.at, e.kind, e.state, e.progress, coalesce(e.instance_id, ''), coalesce(e.job_id, ''),
	e.error_code, coalesce(e.error_message, ''), coalesce(e.error_class, ''), coalesce(e.concerns, 0), (select sequence from relay)
from next n cross join lateral (select * from events e where e.id = any(n.events) offset 0) e
order by n.batch, e.id`

// Unpublished implements provision.RelayStore. Events and place are of one snapshot:
// beside a newer place, events that somebody noted meanwhile would be published
// again.
//
// For each request the order of batches is that in which its events were committed,
// because whoever writes one holds a lock of its request from before the event gets
// its id, and its batch a number, until the commit. So who sees an event sees all
// earlier ones of its request, or they are published. The ids alone do not tell: those
// of a batch lie between those of others.
func (s *Store) Unpublished(ctx context.Context, limit int) (events []provision.Event, after uint64, err error) {
	rows, err := s.pool.Query(ctx, unpublishedSQL, limit)
	if err != nil {
		return nil, 0, translate(err)
	}
	events, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e provision.Event, err error) {
		var code *string
		var message, class string
		var at time.Time
		err = row.Scan(&e.Batch, &e.ID, &e.RequestID, &at, &e.Kind, &e.State, &e.Progress, &e.InstanceID, &e.JobID,
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

// The events of a batch are of one statement, and so of one time.
const waitedSQL = `
select coalesce(extract(epoch from now() - (select at from events where id = (select events[1] from outbox order by batch limit 1))), 0)::float8`

// Waited implements provision.RelayStore.
func (s *Store) Waited(ctx context.Context) (time.Duration, error) {
	var secs float64
	err := s.pool.QueryRow(ctx, waitedSQL).Scan(&secs)
	return duration(secs), translate(err)
}

// What a batch has beside the events in $1 stays. Ids are sorted in a batch, so one that
// has none of them is passed over by its ends.
const leaveOutSQL = `
update outbox o set events = array(select id from unnest(o.events) id where id <> all($1) order by id)
where o.events[1] <= $3 and o.events[cardinality(o.events)] >= $2 and o.events && $1::bigint[]`

// MarkPublished implements provision.RelayStore. What is in the stream leaves the
// outbox whoever published it; but the place of a relay that was paused is old.
func (s *Store) MarkPublished(ctx context.Context, p provision.Published) error {
	statements := &pgx.Batch{}
	if len(p.IDs) > 0 {
		statements.Queue(leaveOutSQL, p.IDs, slices.Min(p.IDs), slices.Max(p.IDs))
		statements.Queue(`delete from outbox where events = '{}'`)
	}
	statements.Queue(`
		with published as (delete from outbox where batch = any($1::bigint[]))
		update relay set sequence = $3 where sequence = $2`, p.Batches, int64(p.After), int64(p.Last))
	return translate(s.pool.SendBatch(ctx, statements))
}
