package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

// The rows are held first, so that the statement after it sees what was committed
// before: who holds a request and what its calls came to.
const holdRequestsSQL = `select 1 from requests where request_id = any($1) order by request_id for no key update`

// What surely never made anything ends here; what a retry has taken for gone may live. For anything else the wish is noted,
// and a trigger makes it due; the loops fulfil it. What was handed out before the
// database was restored is ready, whatever its request is followed as.
const cancelSQL = `
with held as (
	select *, r.may_have_run or exists (select 1 from attempts a where a.request_id = r.request_id and a.number > r.settled_attempts
				and coalesce(a.outcome, 'unknown') in ('unknown', 'busy', 'created'))
			or exists (select 1 from instances i where i.request_id = r.request_id and (i.gone_at is null or r.renew_mark)) as may_live,
		r.state in ('pending', 'creating', 'building')
			and not exists (select 1 from instances i where i.request_id = r.request_id and i.gone_at is null and i.handed_out) as open
	from requests r where request_id = any($1)
), ended as (
	update requests r set state = 'cancelled', cancel_requested_at = coalesce(r.cancel_requested_at, now()),
		cancel_requested_by = coalesce(r.cancel_requested_by, $2), finished_at = now(),
		sealed_password = null, look_first = false, renew_mark = false, waiting_for = null
	from held h where r.request_id = h.request_id and h.open and h.state <> 'building' and h.claimed_by is null and not h.may_live
	returning r.request_id
), wished as (
	update requests r set cancel_requested_at = now(), cancel_requested_by = $2
	from held h where r.request_id = h.request_id and h.open and h.cancel_requested_at is null
		and (h.state = 'building' or h.claimed_by is not null or h.may_live)
	returning r.request_id
), told as (
	insert into events (request_id, kind, state, detail) select request_id, 'cancelled', 'cancelled', 'no call can have run' from ended
)
select i.id, case when e.request_id is not null then 'cancelled'
		when not h.open and h.state in ('pending', 'creating', 'building') then 'ready' else coalesce(h.state, x.state, '') end,
	h.cancel_requested_at is not null or w.request_id is not null or e.request_id is not null,
	coalesce((select n.instance_id from instances n where n.request_id = i.id and n.gone_at is null), '')
from unnest($1::text[]) with ordinality i(id, place)
left join held h on h.request_id = i.id
left join ended e on e.request_id = i.id
left join wished w on w.request_id = i.id
left join (select distinct request_id, 'rejected' as state from rejections) x on x.request_id = i.id
order by i.place`

// Cancel notes the wish that requests be cancelled, and tells for each id what it
// found. by is who asks for it.
func (s *Store) Cancel(ctx context.Context, ids []string, by string) (found []provision.CancelFound, err error) {
	statements := &pgx.Batch{}
	statements.Queue(holdRequestsSQL, ids)
	statements.Queue(cancelSQL, ids, by).Query(func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f provision.CancelFound, err error) {
			err = row.Scan(&f.RequestID, &f.State, &f.Wished, &f.InstanceID)
			return f, err
		})
		return err
	})
	return found, translate(s.pool.SendBatch(ctx, statements))
}
