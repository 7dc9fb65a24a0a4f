package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

// Reads are harmless, so moving the next look forward is lease enough. Nobody
// needs to look at the instance of a request that ended. The region is the request's:
// that of each row is looked up, as it is read all the same right after.
var claimPollsSQL = fairly("instance_id, request_id",
	"instances where next_look_at <= now() + make_interval(secs => $5) and $6 = (select q.region from requests q where q.request_id = instances.request_id)",
	"next_look_at") + `,
claimed as (
	update instances i set looks = i.looks + 1, next_look_at = case
		when (select r.state from requests r where r.request_id = i.request_id) = 'building' then now() + make_interval(secs => $4) end
	where i.instance_id = any (array(select instance_id from due))
	returning i.*
)
select c.request_id, c.instance_id, coalesce(j.job_id, ''), c.project_id, r.mode,
	translate(coalesce(jsonb_path_query_array(r.spec, '$.flavor[*].spec_code')::text, ''), '[]" ', ''),
	greatest(date_part('epoch', now() - c.updated_at), 0), r.mark::text, c.looks, c.project_id = any (proved.projects),
	coalesce(j.status, ''), coalesce(j.progress, 0), date_part('epoch', now() - greatest(c.created_at, r.retried_at)),
	coalesce(c.order_id, ''), c.seen_at is not null, coalesce(r.settled_at <= now(), true), c.status = 'deleted', coalesce(r.waiting_for, ''),
	r.cancel_requested_at is not null, coalesce(date_part('epoch', now() - r.cancel_requested_at), 0),
	c.delete_requested_at is not null, coalesce(date_part('epoch', now() - c.delete_requested_at), 0),
	not c.adopted or exists (select 1 from attempts m where m.request_id = c.request_id and m.instance_id = c.instance_id and m.outcome = 'created')
from claimed c
cross join (select array(select project_id from projects where project_id = any ($1) and marks_seen_at is not null) as projects offset 0) proved
cross join lateral (select mode, spec, mark, retried_at, settled_at, waiting_for, cancel_requested_at from requests r
	where r.request_id = c.request_id offset 0) r
left join lateral (select job_id, status, progress from jobs j where j.request_id = c.request_id and j.instance_id = c.instance_id offset 0) j on true
where c.next_look_at is not null`

// ClaimPolls implements provision.PollStore.
func (s *Store) ClaimPolls(ctx context.Context, q provision.ClaimQuery) ([]provision.PollClaim, error) {
	rows, err := s.pool.Query(ctx, claimPollsSQL, q.Served.Projects, most(q), q.Limit, seconds(q.Lease), seconds(q.Slack), q.Served.Region)
	if err != nil {
		return nil, translate(err)
	}
	claims, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c provision.PollClaim, err error) {
		var since, age, wished, deleting float64
		err = row.Scan(&c.RequestID, &c.InstanceID, &c.JobID, &c.ProjectID, &c.Mode, &c.Flavor, &since, &c.Mark, &c.Looks, &c.MarksSeen,
			&c.JobStatus, &c.Progress, &age, &c.OrderID, &c.Seen, &c.Settled, &c.Missed, &c.WaitingFor,
			&c.Cancelling, &wished, &c.Deleting, &deleting, &c.Named)
		c.Since = duration(since)
		c.Age, c.CancelAge, c.DeleteAge = duration(age), duration(wished), duration(deleting)
		return c, err
	})
	return claims, translate(err)
}

// KeepPoll implements provision.PollStore.
func (s *Store) KeepPoll(ctx context.Context, instanceID string, lease time.Duration) (bool, error) {
	tag, err := s.pool.Exec(ctx, `update instances set next_look_at = now() + make_interval(secs => $2)
		where instance_id = $1 and next_look_at is not null`, instanceID, seconds(lease))
	return tag.RowsAffected() == 1, translate(err)
}

// What a poll writes is guarded by the instance being the request's and the
// request still being built, and its row is held: so a poll that comes late
// changes nothing, and the events of one request are committed in the order of
// their ids. What is known already is no news: a batch may be written twice. A poll
// that did not know of a wish to cancel ends nothing: the wish is not to be lost
// to an instance that becomes ready.
const recordPollsSQL = `
with input as (
	select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[], $7::timestamptz[], $8::timestamptz[],
		$9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::float8[], $15::bool[], $16::text[], $17::text[], $18::text[],
		$19::text[], $20::bool[], $21::bool[], $22::bool[], $23::text[])
	as i(request_id, instance_id, job_id, job_status, progress, fail_reason, job_created_at, job_ended_at,
		instance_status, port, addresses, detail, next_state, delay, changed, error_code, error_message, error_class,
		waiting_for, cancelling, deleting, gone, cloud_request_id)
), held as (
	select i.*, r.* from (select * from input order by request_id) i
	cross join lateral (select waiting_for as waited_for, cancel_requested_at is not null as wished from requests r
		where r.request_id = i.request_id and r.state = 'building' offset 0 for no key update) r
), looked as (
	select i.*, i.wished and not i.cancelling as surprised,
		case when i.wished and not i.cancelling then 'building' else i.next_state end as state,
		i.changed and j.job_id is null as news, i.deleting and n.delete_requested_at is null as deletes
	from held i
	cross join lateral (select * from instances n where n.instance_id = i.instance_id and n.request_id = i.request_id and n.gone_at is null offset 0) n
	left join lateral (select * from jobs j where j.job_id = i.job_id and j.status = i.job_status and j.progress = i.progress offset 0) j on true
), changed as (
	update requests r set state = i.state, finished_at = case when i.state <> 'building' then now() end,
		waiting_for = case when i.state = 'building' then i.waiting_for end,
		error_code = case when i.state = 'building' then r.error_code else i.error_code end,
		error_message = case when i.state = 'building' then r.error_message else i.error_message end,
		error_class = case when i.state = 'building' then r.error_class else i.error_class end
	from looked i where r.request_id = i.request_id and (i.state <> 'building' or i.waiting_for is distinct from i.waited_for)
), seen as (
	update instances n set updated_at = now(),
		next_look_at = case when i.state = 'building' then now() + make_interval(secs => case when i.surprised then 0 else i.delay end) end,
		status = case when i.gone then 'deleted' else coalesce(i.instance_status, n.status) end, port = coalesce(i.port, n.port),
		addresses = case when i.addresses is null then n.addresses
			else i.addresses::text[] end,
		detail = coalesce(i.detail::jsonb, n.detail),
		seen_at = coalesce(n.seen_at, case when i.instance_status is not null then now() end),
		delete_requested_at = case when i.deleting then now() else n.delete_requested_at end,
		gone_at = case when i.gone and i.state <> 'building' then now() end
	from looked i where n.instance_id = i.instance_id
), followed as (
	insert into jobs (job_id, request_id, instance_id, status, progress, fail_reason, cloud_created_at, cloud_ended_at)
	select job_id, request_id, instance_id, job_status, progress, fail_reason, job_created_at, job_ended_at
	from looked where job_id is not null and job_status is not null and changed
	on conflict (job_id) do update set status = excluded.status, progress = excluded.progress, fail_reason = excluded.fail_reason,
		cloud_created_at = coalesce(excluded.cloud_created_at, jobs.cloud_created_at),
		cloud_ended_at = coalesce(excluded.cloud_ended_at, jobs.cloud_ended_at), updated_at = now()
)
insert into events (request_id, kind, state, progress, instance_id, job_id, error_code, error_message, error_class, cloud_request_id)
select request_id, case when deletes then 'deleting' when state = 'building' then 'progress' else state end, state,
	case when not cancelling then progress end, instance_id, job_id, error_code, error_message, error_class, cloud_request_id
from looked where news or deletes or state <> 'building'`

// RecordPolls implements provision.PollStore.
func (s *Store) RecordPolls(ctx context.Context, batch []provision.PollResult) error {
	type row = provision.PollResult
	failure := func(get func(provision.Failure) string) []*string {
		return optional(batch, func(r row) *provision.Failure { return r.Failure }, get)
	}
	instance := func(get func(provision.Instance) *string) []*string {
		return column(batch, func(r row) *string {
			if r.Instance == nil {
				return nil
			}
			return get(*r.Instance)
		})
	}
	_, err := s.pool.Exec(ctx, recordPollsSQL,
		column(batch, func(r row) string { return r.RequestID }),
		column(batch, func(r row) string { return r.InstanceID }),
		column(batch, func(r row) *string { return text(r.JobID) }),
		column(batch, func(r row) *string { return text(r.JobStatus) }),
		column(batch, func(r row) int32 { return int32(min(max(r.Progress, 0), 100)) }),
		column(batch, func(r row) *string { return text(r.FailReason) }),
		column(batch, func(r row) *time.Time { return moment(r.JobCreated) }),
		column(batch, func(r row) *time.Time { return moment(r.JobEnded) }),
		instance(func(i provision.Instance) *string { return text(i.Status) }),
		instance(func(i provision.Instance) *string { return text(i.Port) }),
		instance(func(i provision.Instance) *string { return list(i.Addresses) }),
		instance(func(i provision.Instance) *string { return text(string(i.Detail)) }),
		column(batch, func(r row) string { return string(r.State) }),
		column(batch, func(r row) float64 { return seconds(r.Delay) }),
		column(batch, func(r row) bool { return r.Changed }),
		failure(func(f provision.Failure) string { return f.Code }),
		failure(func(f provision.Failure) string { return f.Message }),
		failure(func(f provision.Failure) string { return string(f.Class) }),
		column(batch, func(r row) *string { return text(r.WaitingFor) }),
		column(batch, func(r row) bool { return r.Cancelling }),
		column(batch, func(r row) bool { return r.Deleting }),
		column(batch, func(r row) bool { return r.Gone }),
		column(batch, func(r row) *string { return text(r.CloudRequestID) }))
	return translate(err)
}

// moment is nil for the zero time, so that an absent time is NULL.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
