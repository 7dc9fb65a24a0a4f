package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

// One statement takes due requests and records the intent to call for each. An
// attempt that was not even sent was no call: if nothing came between, the next
// one takes its row. Time past the due time was spent waiting for a worker, and is
// not counted to the deadline. No call is made for what is being cancelled.
var claimCreatesSQL = fairly("request_id",
	"requests where state = 'pending' and not look_first and cancel_requested_at is null and region = $4 and next_attempt_at <= now()", "next_attempt_at") + `,
claimed as (
	update requests r set state = 'creating', fence = fence + 1,
		attempts = attempts + 1 - (select count(*) from attempts a
			where a.request_id = r.request_id and a.number = r.attempts and a.fence = r.fence and a.error_class = 'not_sent'), looks = 0, claimed_by = $5,
		waited = waited + case when first_attempt_at is null then interval '0' else now() - next_attempt_at end,
		next_attempt_at = now() + make_interval(secs => $6), settled_at = now() + make_interval(secs => $7), waiting_for = null
	where r.request_id = any (array(select request_id from due))
	returning r.*
), intended as (
	insert into attempts as a (request_id, number, fence, worker) select request_id, attempts, fence, $5 from claimed
	on conflict (request_id, number) do update set fence = excluded.fence, worker = excluded.worker, intended_at = now(), outcome = null,
		finished_at = null, took = null, error_code = null, error_message = null, error_class = null
	where a.error_class = 'not_sent'
), told as (
	insert into events (request_id, kind, state) select request_id, 'creating', 'creating' from claimed
)
select request_id, fence, attempts, project_id, name, spec::text, sealed_password, mark::text, prepaid, coalesce(error_code, ''), coalesce(error_class, ''), repeats,
	coalesce(date_part('epoch', now() - first_attempt_at - waited), 0)
from claimed`

// ClaimCreates implements provision.CreateStore.
func (s *Store) ClaimCreates(ctx context.Context, q provision.ClaimQuery) ([]provision.CreateClaim, error) {
	rows, err := s.pool.Query(ctx, claimCreatesSQL, q.Served.Projects, most(q), q.Limit, q.Served.Region, q.Worker,
		seconds(q.Lease), seconds(q.Settle))
	if err != nil {
		return nil, translate(err)
	}
	claims, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c provision.CreateClaim, err error) {
		var spec string
		var age float64
		err = row.Scan(&c.RequestID, &c.Fence, &c.Attempt, &c.ProjectID, &c.Name, &spec, &c.SealedPassword, &c.Mark, &c.Prepaid,
			&c.LastCode, &c.LastClass, &c.Repeats, &age)
		c.Spec, c.Age = []byte(spec), duration(age)
		return c, err
	})
	return claims, translate(err)
}

// An attempt's outcome is recorded once, whoever holds the request by now; the request
// changes only under the fencing number of the claim. So a batch that is written again,
// because the answer to its commit was lost, changes nothing. The requests are held
// first, in the order in which claims hold them: requests, then attempts. What a late
// answer names lives, whatever a look has found or is about to: it is looked for at once,
// before anybody calls; where nobody will any more, it is an orphan, unless its request
// changed while it was waited for and may have it by now. Where tags are not proved a
// request looks again before its next call, for who has its name by then. What was wished
// cancelled since the claim ends here if no call can have run; else a look or the poller
// goes on. A new instance of a project whose tags are not proved yet is looked at soon,
// to prove them.
const recordCreatesSQL = `
with input as (
	select * from unnest($1::text[], $2::bigint[], $3::int[], $4::text[], $5::float8[], $6::text[], $7::float8[], $8::bool[], $9::text[],
		$10::text[], $11::text[], $12::text[], $13::int[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[])
	as i(request_id, fence, number, outcome, took, next_state, delay, look_first, waiting_for,
		error_code, error_message, error_class, http_status, cloud_request_id, instance_id, job_id, order_id, instance_status)
), held as (
	select i.*, r.* from (select * from input order by request_id) i
	cross join lateral (select state as was, r.fence as holder, cancel_requested_at is not null as wished, settled_attempts from requests r
		where r.request_id = i.request_id offset 0 for no key update) r
), reported as (
	update attempts a set outcome = i.outcome, finished_at = now(), took = make_interval(secs => i.took), http_status = i.http_status,
		error_code = i.error_code, error_message = i.error_message, error_class = i.error_class, cloud_request_id = i.cloud_request_id,
		instance_id = i.instance_id, job_id = i.job_id
	from held i
	where a.request_id = i.request_id and a.number = i.number and a.fence = i.fence and a.finished_at is null
	returning i.*
), decided as (
	select i.*, case when i.wished and i.next_state in ('pending', 'failed') and i.outcome in ('not_executed', 'permanent')
			and not exists (select 1 from attempts m where m.request_id = i.request_id and m.number between i.settled_attempts + 1 and i.number - 1
				and coalesce(m.outcome, 'unknown') in ('unknown', 'busy', 'created'))
		then 'cancelled' else i.next_state end as state
	from reported i
	offset 0 -- so that it is decided once
), changed as (
	update requests r set state = i.state, claimed_by = null, look_first = i.state = 'pending' and (i.look_first or i.wished or not exists (
			select 1 from projects p where p.project_id = r.project_id and p.marks_seen_at is not null)), waiting_for = i.waiting_for,
		next_attempt_at = now() + make_interval(secs => case when i.wished then least(i.delay, 1) else i.delay end),
		waited = r.waited + case when i.error_class = 'not_sent' and r.first_attempt_at is not null
			then make_interval(secs => i.took + i.delay) else interval '0' end,
		first_attempt_at = coalesce(r.first_attempt_at,
			case when i.error_class is distinct from 'not_sent' then now() - make_interval(secs => i.took) end),
		repeats = case when i.error_code = r.error_code then r.repeats + 1 else 1 end,
		error_code = i.error_code, error_message = i.error_message, error_class = i.error_class,
		cloud_request_id = i.cloud_request_id,
		sealed_password = case when i.state in ('pending', 'creating') then r.sealed_password end,
		finished_at = case when i.state in ('failed', 'cancelled') then now() end
	from decided i
	where r.request_id = i.request_id and i.holder = i.fence and i.was = 'creating'
	returning i.*, r.project_id, r.name
), late as (
	update requests r set fence = r.fence + 1, claimed_by = null, look_first = r.state = 'pending', next_attempt_at = now(),
		waiting_for = 'a look at instance ' || i.instance_id || ', which a late answer named'
	from reported i
	where r.request_id = i.request_id and i.outcome = 'created' and i.holder <> i.fence
		and i.number > i.settled_attempts and i.was in ('pending', 'creating')
), surplus as (
	insert into orphans (instance_id, project_id, name, mark, request_id, status, why)
	select i.instance_id, r.project_id, r.name, case when i.number > i.settled_attempts then r.mark::text end, i.request_id, coalesce(i.instance_status, 'unknown'),
		'a late answer to a call named it; its request was ' || i.was || ' by then'
	from reported i
	cross join lateral (select project_id, name, mark, state from requests r where r.request_id = i.request_id offset 0) r
	where r.state = i.was and i.outcome = 'created' and (i.holder <> i.fence or i.was <> 'creating')
		and (i.was not in ('pending', 'creating') or i.number <= i.settled_attempts)
		and (select n.instance_id from instances n where n.instance_id = i.instance_id) is null
	on conflict (instance_id) do nothing
	returning request_id, instance_id, why
), built as (
	insert into instances (instance_id, request_id, project_id, name, order_id, adopted, status, next_look_at)
	select c.instance_id, c.request_id, c.project_id, c.name, c.order_id, false, coalesce(c.instance_status, 'creating'),
		now() + make_interval(secs => case when p.marks_seen_at is null or c.wished then 0 else c.delay end)
	from changed c left join projects p using (project_id)
	where c.instance_id is not null
), running as (
	insert into jobs (job_id, request_id, instance_id) select job_id, request_id, instance_id from changed where job_id is not null
)
insert into events (request_id, kind, state, instance_id, job_id, error_code, error_message, error_class, cloud_request_id, detail)
select request_id, case when state = 'pending' then 'waiting' when state = 'creating' then 'unknown' else state end, state,
	instance_id, job_id, error_code, error_message, error_class, cloud_request_id, waiting_for
from changed
union all
select s.request_id, 'orphan', i.was, s.instance_id, null, null, null, null, i.cloud_request_id, s.why
from surplus s join reported i on i.request_id = s.request_id and i.instance_id = s.instance_id`

// RecordCreates implements provision.CreateStore. A statement changes a row but once, so
// a late answer goes before what its request's next call brought.
func (s *Store) RecordCreates(ctx context.Context, batch []provision.CreateResult) error {
	for len(batch) > 0 {
		var later []provision.CreateResult
		batch, later = firstOfEach(batch)
		if err := s.recordCreates(ctx, batch); err != nil {
			return err
		}
		batch = later
	}
	return nil
}

// firstOfEach returns the outcome of each request's earliest claim, and the others.
func firstOfEach(batch []provision.CreateResult) (firsts, later []provision.CreateResult) {
	place := make(map[string]int, len(batch))
	for _, r := range batch {
		switch n, twice := place[r.RequestID]; {
		case !twice:
			place[r.RequestID] = len(firsts)
			firsts = append(firsts, r)
		case r.Fence < firsts[n].Fence:
			later = append(later, firsts[n])
			firsts[n] = r
		default:
			later = append(later, r)
		}
	}
	return firsts, later
}

func (s *Store) recordCreates(ctx context.Context, batch []provision.CreateResult) error {
	type row = provision.CreateResult
	failure := func(get func(provision.Failure) string) []*string {
		return optional(batch, func(r row) *provision.Failure { return r.Failure }, get)
	}
	_, err := s.pool.Exec(ctx, recordCreatesSQL,
		column(batch, func(r row) string { return r.RequestID }),
		column(batch, func(r row) int64 { return r.Fence }),
		column(batch, func(r row) int32 { return int32(r.Attempt) }),
		column(batch, func(r row) string { return string(r.Outcome) }),
		column(batch, func(r row) float64 { return seconds(r.Took) }),
		column(batch, func(r row) string { return string(r.Next.State) }),
		column(batch, func(r row) float64 { return seconds(r.Next.Delay) }),
		column(batch, func(r row) bool { return r.Next.LookFirst }),
		column(batch, func(r row) *string { return text(r.Next.WaitingFor) }),
		failure(func(f provision.Failure) string { return f.Code }),
		failure(func(f provision.Failure) string { return f.Message }),
		failure(func(f provision.Failure) string { return string(f.Class) }),
		column(batch, httpStatus),
		column(batch, func(r row) *string {
			if r.Failure != nil {
				return text(r.Failure.CloudRequestID)
			}
			return text(r.Created.CloudRequestID)
		}),
		column(batch, func(r row) *string { return text(r.Created.InstanceID) }),
		column(batch, func(r row) *string { return text(r.Created.JobID) }),
		column(batch, func(r row) *string { return text(r.Created.OrderID) }),
		column(batch, func(r row) *string { return text(r.Created.Status) }))
	return translate(err)
}

func httpStatus(r provision.CreateResult) *int32 {
	status := int32(r.Created.HTTPStatus)
	if r.Failure != nil {
		status = int32(r.Failure.HTTPStatus)
	}
	if status == 0 {
		return nil
	}
	return &status
}
