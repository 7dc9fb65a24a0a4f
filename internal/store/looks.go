package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

// Rows that must be looked for: in creating and due, which is a lease that ended
// or an unknown outcome; or pending and told to look first. An attempt whose
// outcome never came is recorded as unknown, and as not finished: its worker may
// still report it. What an answer named, though its worker had lost the request by
// then, may live. Attempts that were settled before a retry do not count any more.
var claimLooksSQL = fairly("request_id",
	"requests where (state = 'creating' or (state = 'pending' and look_first)) and region = $4 and next_attempt_at <= now()", "next_attempt_at") + `,
claimed as (
	update requests r set state = 'creating', fence = fence + 1, looks = looks + 1, claimed_by = $5,
		next_attempt_at = now() + make_interval(secs => $6),
		first_attempt_at = coalesce(first_attempt_at, case when attempts > settled_attempts and not renew_mark then now() end),
		waited = waited + case when first_attempt_at is null then interval '0' else now() - next_attempt_at end
	where r.request_id = any (array(select request_id from due))
	returning r.*
), lost as (
	update attempts a set outcome = 'unknown', error_class = 'lost',
		error_message = 'its worker did not report before its lease ended'
	from claimed c where a.request_id = c.request_id and a.request_id = any(array(select request_id from due)) and a.number = c.attempts and a.outcome is null
)
select c.request_id, c.fence, c.project_id, c.name, c.spec::text, c.mark::text, c.prepaid, c.looks,
	case when c.attempts > c.settled_attempts then coalesce(a.outcome, 'unknown') else '' end, coalesce(a.error_code, ''), coalesce(a.error_message, 'no answer was recorded'),
	c.may_have_run or named.ids is not null or exists (select 1 from attempts m where m.request_id = c.request_id and m.number > c.settled_attempts
		and coalesce(m.outcome, 'unknown') in ('unknown', 'busy')),
	c.may_have_run, named.ids,
	coalesce(c.settled_at <= now(), true), p.marks_seen_at is not null, c.namesakes,
	coalesce(date_part('epoch', now() - coalesce(c.first_attempt_at, case when c.renew_mark then c.retried_at end) - c.waited), 0),
	c.cancel_requested_at is not null, c.renew_mark, coalesce(held.instance_id, ''), coalesce(held.failed, false), coalesce(held.unseen_order, ''),
	case when c.renew_mark then array(select i.instance_id from instances i where i.request_id = c.request_id and i.gone_at is not null) end
from claimed c
left join attempts a on a.request_id = c.request_id and a.request_id = any(array(select request_id from due)) and a.number = c.attempts
left join projects p on p.project_id = c.project_id
left join lateral (select array_agg(m.instance_id) as ids from attempts m
	where m.request_id = c.request_id and m.number > c.settled_attempts and m.outcome = 'created'
	and not exists (select 1 from instances i where i.instance_id = m.instance_id)) named on true
left join lateral (select i.instance_id, exists (select 1 from jobs j where j.request_id = i.request_id and j.instance_id = i.instance_id and j.status = 'Failed') as failed
		, case when i.seen_at is null then i.order_id end as unseen_order
	from instances i where i.request_id = c.request_id and i.gone_at is null limit 1) held on true`

// ClaimLooks implements provision.LookStore.
func (s *Store) ClaimLooks(ctx context.Context, q provision.ClaimQuery) ([]provision.LookClaim, error) {
	rows, err := s.pool.Query(ctx, claimLooksSQL, q.Served.Projects, most(q), q.Limit, q.Served.Region, q.Worker, seconds(q.Lease))
	if err != nil {
		return nil, translate(err)
	}
	claims, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c provision.LookClaim, err error) {
		var spec string
		var age float64
		err = row.Scan(&c.RequestID, &c.Fence, &c.ProjectID, &c.Name, &spec, &c.Mark, &c.Prepaid, &c.Looks,
			&c.LastOutcome, &c.LastCode, &c.LastMessage, &c.MayHaveRun, &c.Restored, &c.Named, &c.Settled, &c.MarksSeen, &c.Namesakes, &age,
			&c.Cancelling, &c.Retried, &c.Held, &c.HeldFailed, &c.HeldOrder, &c.Gone)
		c.Spec, c.Age = []byte(spec), duration(age)
		return c, err
	})
	return claims, translate(err)
}

// KeepLook implements provision.LookStore.
func (s *Store) KeepLook(ctx context.Context, requestID string, fence int64, lease time.Duration) (bool, error) {
	tag, err := s.pool.Exec(ctx, `update requests set next_attempt_at = now() + make_interval(secs => $3)
		where request_id = $1 and fence = $2 and state = 'creating'`, requestID, fence, seconds(lease))
	return tag.RowsAffected() == 1, translate(err)
}

// Where tags cannot be relied on only one open request may hold a name: the others wait
// for their turn before they note who else has it. A look after which a request waits
// for the same as before is no event; one that adopts for a pending request, or fails
// it, tells two, so that the events are a way through the states. A look that lets a
// request call is conclusive: one that was wished cancelled meanwhile ends with it, and
// one that is retried gets its new mark. What is recorded for it already is followed
// again when it is adopted, though it was taken for gone.
const recordLooksSQL = `
with input as (
	select * from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::float8[], $7::bool[], $8::text[],
		$9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::bool[])
	as i(request_id, fence, kind, detail, next_state, delay, look_first, waiting_for,
		error_code, error_message, error_class, cloud_request_id, namesakes, instance_id, instance_status, orphans, gone, unsent)
), held as (
	select request_id, project_id, name, waiting_for as waited_for, cancel_requested_at is not null as wished, renew_mark, gen_random_uuid() as new_mark
	from requests where request_id in (select request_id from input)
	order by request_id
	for no key update
), decided as (
	select i.*, h.wished, h.waited_for, h.renew_mark and i.next_state = 'pending' and not i.look_first as renewed, h.new_mark,
		case when h.wished and i.next_state = 'pending' and not i.look_first then 'cancelled' else i.next_state end as state,
		i.namesakes is not null and not h.wished and exists (
			select 1 from requests o where o.project_id = h.project_id and o.name = h.name and o.request_id <> h.request_id
			and o.namesakes is not null and o.state in ('pending', 'creating', 'building')) as held
	from input i join held h using (request_id)
), changed as (
	update requests r set claimed_by = null,
		state = i.state,
		may_have_run = r.may_have_run and (i.state = 'creating' or i.state = 'pending' and (i.look_first or i.held)),
		look_first = i.state = 'pending' and (i.look_first or i.held or i.wished),
		waiting_for = case when i.held then $19 else i.waiting_for end,
		next_attempt_at = now() + make_interval(secs => case when i.held then $20 else i.delay end),
		waited = r.waited + case when i.unsent and r.first_attempt_at is not null then make_interval(secs => i.delay) else interval '0' end,
		namesakes = case when i.namesakes is null or i.held then r.namesakes
			else i.namesakes::text[] end,
		mark = case when i.renewed and not i.held then i.new_mark else r.mark end,
		settled_attempts = case when i.renewed and not i.held then r.attempts else r.settled_attempts end,
		renew_mark = r.renew_mark and i.state in ('pending', 'creating') and (i.held or not i.renewed),
		error_code = coalesce(i.error_code, r.error_code), error_message = coalesce(i.error_message, r.error_message),
		error_class = coalesce(i.error_class, r.error_class),
		sealed_password = case when i.state in ('pending', 'creating') then r.sealed_password end,
		finished_at = case when i.state in ('failed', 'cancelled') then now() end
	from decided i
	where r.request_id = i.request_id and r.fence = i.fence and r.state = 'creating'
	returning i.*, r.project_id, r.name, r.mark, r.waiting_for is not distinct from i.waited_for and r.waiting_for is not null as same_wait
), marked as (
	insert into marks (mark, request_id) select mark, request_id from changed where mark = new_mark
), vanished as (
	update instances n set gone_at = now(), next_look_at = null, status = 'deleted', updated_at = now()
	from changed c where n.instance_id = c.gone and n.request_id = c.request_id and n.gone_at is null
	returning n.instance_id
), again as (
	update instances n set next_look_at = now(), status = coalesce(c.instance_status, n.status), updated_at = now(), gone_at = null
	from changed c cross join (select count(*) from vanished) first
	where n.instance_id = c.instance_id and n.request_id = c.request_id
), adopted as (
	insert into instances (instance_id, request_id, project_id, name, adopted, status, next_look_at, seen_at)
	select instance_id, request_id, project_id, name, true, coalesce(instance_status, 'unknown'), now(), now()
	from changed c cross join (select count(*) from vanished) first
	where instance_id is not null and not exists (
		select 1 from instances n where n.instance_id = c.instance_id and n.request_id = c.request_id)
), surplus as (
	insert into orphans (instance_id, project_id, name, mark, request_id, status, why, evidence)
	select o->>'id', c.project_id, o->>'name', o->>'mark', c.request_id, coalesce(nullif(o->>'status', ''), 'unknown'),
		'a second instance for one request; the oldest was adopted', o
	from changed c cross join lateral jsonb_array_elements(c.orphans::jsonb) o
	where c.orphans is not null
	on conflict (instance_id) do update set last_seen_at = now(), status = excluded.status
)
insert into events (request_id, kind, state, instance_id, error_code, error_message, error_class, detail, cloud_request_id)
select request_id, 'looking', 'creating', null, null, null, null, null, null
from changed where state in ('building', 'failed') and 'pending' = (
	select e.state from events e where e.request_id = changed.request_id and e.concerns is null order by e.id desc limit 1)
union all
select request_id, case when state in ('failed', 'cancelled') then state else kind end, state, coalesce(instance_id, gone), error_code, error_message, error_class,
	detail, cloud_request_id
from changed where not same_wait`

// RecordLooks implements provision.LookStore.
func (s *Store) RecordLooks(ctx context.Context, batch []provision.LookResult) error {
	type row = provision.LookResult
	failure := func(get func(provision.Failure) string) []*string {
		return optional(batch, func(r row) *provision.Failure { return r.Failure }, get)
	}
	adopt := func(get func(provision.Instance) string) []*string {
		return optional(batch, func(r row) *provision.Instance { return r.Adopt }, get)
	}
	_, err := s.pool.Exec(ctx, recordLooksSQL,
		column(batch, func(r row) string { return r.RequestID }),
		column(batch, func(r row) int64 { return r.Fence }),
		column(batch, func(r row) string { return r.Kind }),
		column(batch, func(r row) *string { return text(r.Detail) }),
		column(batch, func(r row) string { return string(r.Next.State) }),
		column(batch, func(r row) float64 { return seconds(r.Next.Delay) }),
		column(batch, func(r row) bool { return r.Next.LookFirst }),
		column(batch, func(r row) *string { return text(r.Next.WaitingFor) }),
		failure(func(f provision.Failure) string { return f.Code }),
		failure(func(f provision.Failure) string { return f.Message }),
		failure(func(f provision.Failure) string { return string(f.Class) }),
		column(batch, func(r row) *string { return text(r.CloudRequestID) }),
		column(batch, func(r row) *string { return list(r.Namesakes) }),
		adopt(func(i provision.Instance) string { return i.ID }),
		adopt(func(i provision.Instance) string { return i.Status }),
		column(batch, func(r row) *string { return orphans(r.Orphans) }),
		column(batch, func(r row) *string { return text(r.Gone) }),
		column(batch, func(r row) bool { return r.Unsent }),
		provision.NamesakeWait, seconds(provision.NamesakeDelay))
	return translate(err)
}

// list is a text[] as Postgres writes one, because unnest flattens arrays of arrays;
// nil stays NULL, and an empty list stays one.
func list(values []string) *string {
	if values == nil {
		return nil
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = `"` + inList.Replace(v) + `"`
	}
	return new("{" + strings.Join(quoted, ",") + "}")
}

var inList = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// marshal never fails for what it is given here: strings and maps of strings.
func marshal(v any) *string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	s := string(b)
	return &s
}

func orphans(list []provision.Instance) *string {
	if len(list) == 0 {
		return nil
	}
	return marshal(column(list, func(i provision.Instance) map[string]string {
		return map[string]string{"id": i.ID, "name": i.Name, "status": i.Status, "mark": i.Tags[provision.TagRequest], "created": i.Created}
	}))
}

// freed is how many requests one statement frees: all that may wait would take it
// longer than it has.
const freed = 5000

// NoteMarksSeen implements provision.LookStore and provision.PollStore. Requests that
// only looked first because tags were not proved yet may call at once; not those
// that a restored database looks for. One that is not come to looks first.
func (s *Store) NoteMarksSeen(ctx context.Context, projectID string) error {
	tag, err := s.pool.Exec(ctx, `
		insert into projects (project_id, marks_seen_at) values ($1, now())
		on conflict (project_id) do update set marks_seen_at = now() where projects.marks_seen_at is null`, projectID)
	for n := tag.RowsAffected() * freed; err == nil && n == freed; n = tag.RowsAffected() {
		tag, err = s.pool.Exec(ctx, `
			with waiting as (
				select request_id from requests where project_id = $1 and state = 'pending' and look_first and attempts = 0
					and cancel_requested_at is null and not renew_mark and not may_have_run
				limit $2
				for no key update skip locked
			)
			update requests r set look_first = false, waiting_for = case when looks = 0 then waiting_for end, next_attempt_at = least(next_attempt_at, now())
			from waiting where r.request_id = waiting.request_id`, projectID, freed)
	}
	return translate(err)
}

// KnownInstances implements provision.LookStore.
func (s *Store) KnownInstances(ctx context.Context, ids []string) (map[string]bool, error) {
	known := map[string]bool{}
	if len(ids) == 0 {
		return known, nil
	}
	rows, err := s.pool.Query(ctx, `select instance_id from instances where instance_id = any($1)
		union all select instance_id from pruned_instances where instance_id = any($1)
		union all select instance_id from orphans where instance_id = any($1) and state = 'deleting'`, ids)
	if err != nil {
		return nil, translate(err)
	}
	var id string
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error { known[id] = true; return nil })
	return known, translate(err)
}
