package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

const claimAuditSQL = `
with missing as (
	insert into audits (project_id, region) select p, $2 from unnest($1::text[]) p
	where not exists (select 1 from audits a where a.project_id = p and a.region = $2)
	on conflict do nothing
), due as (
	select project_id, region from audits where project_id = any($1) and region = $2 and due_at <= now()
	order by due_at limit 1
	for update skip locked
), claimed as (
	update audits a set round = round + 1, begun_at = now(), due_at = now() + make_interval(secs => $3)
	from due where a.project_id = due.project_id and a.region = due.region
	returning a.*
)
select c.project_id, c.region, c.round, c.begun_at, p.marks_seen_at is not null
from claimed c left join projects p using (project_id)`

// ClaimAudit implements provision.AuditStore.
func (s *Store) ClaimAudit(ctx context.Context, served provision.Served, interval time.Duration) (c provision.AuditClaim, ok bool, err error) {
	err = s.pool.QueryRow(ctx, claimAuditSQL, served.Projects, served.Region, seconds(interval)).
		Scan(&c.ProjectID, &c.Region, &c.Round, &c.BegunAt, &c.MarksSeen)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, false, nil
	}
	return c, err == nil, translate(err)
}

// What is no mark in form is none of ours.
const markFactsSQL = `
select i.instance_id, coalesce(r.request_id, m.request_id, ''), coalesce(r.state, ''), coalesce(r.name, ''), coalesce(held.instance_id, ''),
	recorded.instance_id is not null and coalesce(recorded.gone_at >= $3, true) or i.instance_id = any(array(select instance_id from pruned_instances where instance_id = any($1) and not gone)),
	coalesce(recorded.gone_at < $3, false),
	exists (select 1 from attempts a where a.request_id = m.request_id and a.instance_id = i.instance_id), r.settled_at
from (select instance_id, case when tag ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then tag::uuid end as mark
	from unnest($1::text[], $2::text[]) l(instance_id, tag)) i
left join marks m on m.mark = i.mark
left join instances recorded on recorded.instance_id = i.instance_id
left join requests r on r.request_id = case when recorded.gone_at < $3 then recorded.request_id else m.request_id end
left join instances held on held.request_id = r.request_id and held.gone_at is null`

// MarkFacts implements provision.AuditStore.
func (s *Store) MarkFacts(ctx context.Context, listed []provision.Instance, after time.Time) (map[string]provision.MarkFacts, error) {
	rows, err := s.pool.Query(ctx, markFactsSQL,
		column(listed, func(i provision.Instance) string { return i.ID }),
		column(listed, func(i provision.Instance) string { return i.Tags[provision.TagRequest] }), after)
	if err != nil {
		return nil, translate(err)
	}
	facts := map[string]provision.MarkFacts{}
	var id string
	var f provision.MarkFacts
	_, err = pgx.ForEachRow(rows, []any{&id, &f.RequestID, &f.State, &f.Name, &f.Holds, &f.Recorded, &f.Gone, &f.Named, &instant{&f.SettledAt}},
		func() error { facts[id] = f; return nil })
	return facts, translate(err)
}

// anew tells that what comes to be recorded once more is an orphan as if it had never
// been seen: it was gone or explained, or only to be reported.
const anew = `(o.state in ('gone', 'explained') or o.state = 'unknown_mark' and excluded.state <> o.state)`

// A sighting holds if the instance is still recorded for nobody and its request
// cannot find it any more. A batch that is written again, because the answer to its
// commit was lost, changes nothing. Where one becomes only to be reported,
// error_message tells why.
const recordSightingsSQL = `
with input as (
	select i.*, r.state as request_state, o.last_round is distinct from $11::bigint as first_time
	from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bool[])
		i(instance_id, name, mark, request_id, status, why, evidence, unknown)
	left join requests r on r.request_id = i.request_id
	left join orphans o on o.instance_id = i.instance_id
	where i.instance_id <> all (array(select instance_id from (
		select instance_id, gone_at from instances where instance_id = any($1) offset 0) recorded where gone_at is null))
	and i.instance_id <> all (array(select instance_id from pruned_instances where instance_id = any($1) and not gone))
	and coalesce(r.state not in ('pending', 'creating'), true)
), seen as (
	insert into orphans as o (instance_id, project_id, region, name, mark, request_id, status, why, evidence, state, rounds, last_round)
	select instance_id, $9, $10, coalesce(name, ''), mark, request_id, coalesce(status, 'unknown'), why, evidence::jsonb,
		case when unknown then 'unknown_mark' else 'quarantine' end, 1, $11
	from input
	on conflict (instance_id) do update set last_seen_at = now(), status = excluded.status, region = excluded.region, last_round = excluded.last_round,
		rounds = case when ` + anew + ` then 1 else o.rounds + (o.last_round is distinct from excluded.last_round)::int end,
		first_seen_at = case when ` + anew + ` then now() else o.first_seen_at end,
		gone_at = null, error_message = case when excluded.state = 'unknown_mark' then nullif(excluded.why, o.why) else o.error_message end,
		state = case when ` + anew + ` or excluded.state = 'unknown_mark' then excluded.state else o.state end
	returning instance_id, rounds
), fresh as (
	select i.* from seen s join input i using (instance_id) where s.rounds = 1 and i.first_time
), told as (
	insert into events (request_id, kind, state, instance_id, detail)
	select request_id, 'orphan', request_state, instance_id, why from fresh where request_state is not null
)
select instance_id from fresh`

// RecordSightings implements provision.AuditStore. It holds the requests first, as
// whatever writes events of theirs does.
func (s *Store) RecordSightings(ctx context.Context, c provision.AuditClaim, seen []provision.Sighting) ([]string, error) {
	type row = provision.Sighting
	if len(seen) == 0 {
		return nil, nil
	}
	var fresh []string
	b := &pgx.Batch{}
	b.Queue(holdRequestsSQL, column(seen, func(s row) string { return s.RequestID }))
	b.Queue(recordSightingsSQL,
		column(seen, func(s row) string { return s.Instance.ID }),
		column(seen, func(s row) *string { return text(s.Instance.Name) }),
		column(seen, func(s row) *string { return text(s.Mark) }),
		column(seen, func(s row) *string { return text(s.RequestID) }),
		column(seen, func(s row) *string { return text(s.Instance.Status) }),
		column(seen, func(s row) string { return s.Why }),
		column(seen, func(s row) *string { return text(string(s.Evidence)) }),
		column(seen, func(s row) bool { return s.Unknown }),
		c.ProjectID, c.Region, c.Round).Query(func(rows pgx.Rows) (err error) {
		fresh, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	err := s.pool.SendBatch(ctx, b)
	return fresh, translate(err)
}

// orphansHere are those of the audited project and region; one that a look found
// has the region of its request.
const orphansHere = `project_id = $1 and coalesce(o.region, (select q.region from requests q where q.request_id = o.request_id), $2) = $2`

// holdOwnersSQL holds the requests of those that may change.
const holdOwnersSQL = `select 1 from requests where request_id in (select request_id from orphans o where ` + orphansHere + ` and state <> 'gone')
	order by request_id for no key update`

// tellOrphans writes an event for each changed orphan of a request, which is held.
const tellOrphans = `
insert into events (request_id, kind, state, instance_id, detail)
select r.request_id, 'orphan', r.state, c.instance_id, c.detail from changed c join requests r on r.request_id = c.request_id`

// What a whole list does not show any more is gone, unless it was recorded while
// the list was read.
const orphansGoneSQL = `
with changed as (
	update orphans o set state = 'gone', gone_at = now()
	where ` + orphansHere + ` and state <> 'gone' and instance_id <> all ($3::text[]) and last_seen_at < $4
	returning instance_id, request_id, 'it is gone' as detail
)` + tellOrphans

// What is listed and was not seen as an orphan in this round is somebody's by now,
// or has lost its tags. What no audit has seen is somebody's once it is recorded.
const orphansExplainedSQL = `
with changed as (
	update orphans o set state = 'explained'
	where ` + orphansHere + ` and state not in ('gone', 'explained', 'deleting') and (rounds > 0 and last_round <> $3 and last_seen_at < $4
		or rounds = 0 and (select i.instance_id from instances i where i.instance_id = o.instance_id and i.gone_at is null) is not null)
	returning instance_id, request_id, 'it is somebody''s by now, or has lost its tags' as detail
)` + tellOrphans

// ripe are those that the policy applies to: seen in two rounds, and the quarantine
// is over. One that a look found and no audit can recognise is reported all the
// same.
const ripe = `(o.rounds >= 2 and o.first_seen_at <= now() - make_interval(secs => $3))`

const orphansReportedSQL = `
with changed as (
	update orphans o set state = case when coalesce(o.policy, $4) = 'keep' then 'kept' else 'reported' end
	where ` + orphansHere + ` and state in ('quarantine', 'reported', 'kept')
	and (` + ripe + ` and coalesce(o.policy, $4) <> 'delete' or o.rounds = 0 and o.first_seen_at <= now() - make_interval(secs => $3))
	and state <> case when coalesce(o.policy, $4) = 'keep' then 'kept' else 'reported' end
	returning instance_id, request_id, 'its quarantine is over: ' || state as detail
)` + tellOrphans

const orphansToDeleteSQL = `
select instance_id, project_id, coalesce(mark, ''), coalesce(request_id, '') from orphans o
where ` + orphansHere + ` and ` + deletable + ` and o.last_round = $5`

const deletable = ripe + ` and state in ('quarantine', 'reported', 'kept', 'deleting') and coalesce(o.policy, $4) = 'delete'
	and coalesce(o.delete_at <= now(), true)`

// FinishAudit implements provision.AuditStore.
func (s *Store) FinishAudit(ctx context.Context, c provision.AuditClaim, listed []string, rules provision.OrphanRules, problem error) (due []provision.Orphan, err error) {
	if problem != nil {
		_, err := s.pool.Exec(ctx, `update audits set problem = $4, due_at = least(due_at, now() + make_interval(secs => $5))
			where project_id = $1 and region = $2 and round = $3`, c.ProjectID, c.Region, c.Round, printable(problem.Error()), seconds(rules.Relist))
		return nil, translate(err)
	}
	if listed == nil {
		listed = []string{} // NULL would be no list at all
	}
	b := &pgx.Batch{}
	quarantine := seconds(rules.Quarantine)
	b.Queue(holdOwnersSQL, c.ProjectID, c.Region)
	b.Queue(orphansGoneSQL, c.ProjectID, c.Region, listed, c.BegunAt)
	b.Queue(orphansExplainedSQL, c.ProjectID, c.Region, c.Round, c.BegunAt)
	b.Queue(orphansReportedSQL, c.ProjectID, c.Region, quarantine, string(rules.Policy))
	b.Queue(orphansToDeleteSQL, c.ProjectID, c.Region, quarantine, string(rules.Policy), c.Round).Query(func(rows pgx.Rows) (err error) {
		due, err = pgx.CollectRows(rows, pgx.RowToStructByPos[provision.Orphan])
		return err
	})
	b.Queue(`update audits set finished_at = now(), listed = $4, problem = null where project_id = $1 and region = $2 and round = $3`,
		c.ProjectID, c.Region, c.Round, len(listed))
	return due, translate(s.pool.SendBatch(ctx, b))
}

// printable is text that Postgres takes, whatever it came from.
func printable(words string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(words, "\uFFFD"), "\x00", "")
}

// The facts are compared again in the statement that records the intent: the
// installation, the mark, that nobody has the instance, and that its request cannot
// find it any more; that one is held, so that a retry comes before or after. A look
// after it takes the instance for somebody's.
const intendDeletionSQL = `
with unasked as (
	select request_id from requests r where request_id = $6 and state not in ('pending', 'creating')
	and not (state = 'building' and exists (select 1 from attempts a where a.request_id = r.request_id and a.instance_id = $1))
	for no key update
), changed as (
	update orphans o set state = 'deleting', deletions = o.deletions + 1, delete_at = now() + make_interval(secs => $7), error_code = null, error_message = null
	where o.instance_id = $1 and o.mark = $2::text and ` + deletable + `
	and exists (select 1 from installation where id::text = $5)
	and exists (select 1 from marks m join unasked using (request_id) where m.mark = $2::uuid and m.request_id = o.request_id)
	and not exists (select 1 from instances i where i.instance_id = o.instance_id)
	and not exists (select 1 from pruned_instances i where i.instance_id = o.instance_id)
	returning instance_id, request_id, 'its deletion is asked for' as detail
)` + tellOrphans

// IntendDeletion implements provision.OrphanStore.
func (s *Store) IntendDeletion(ctx context.Context, o provision.Orphan, rules provision.OrphanRules) (ok bool, err error) {
	tag, err := s.pool.Exec(ctx, intendDeletionSQL, o.InstanceID, o.Mark, seconds(rules.Quarantine), string(rules.Policy), rules.Installation, o.RequestID, seconds(rules.Retry))
	return tag.RowsAffected() == 1, translate(err)
}

// RecordDeletion implements provision.OrphanStore.
func (s *Store) RecordDeletion(ctx context.Context, d provision.Deletion) error {
	state, detail := "deleting", "its deletion is under way"
	switch {
	case d.Gone:
		state, detail = "gone", "it is gone"
	case d.Refused:
		state, detail = "refused", "it cannot be deleted"
	case d.Explained:
		state, detail = "explained", "it is not deleted"
	}
	var code, message *string
	if d.Failure != nil {
		code, message = text(d.Failure.Code), text(d.Failure.Message)
	}
	b := &pgx.Batch{}
	b.Queue(`select 1 from requests where request_id in (select request_id from orphans where instance_id = $1) for no key update`, d.InstanceID)
	b.Queue(`
		with changed as (
			update orphans o set state = $2, delete_at = now() + make_interval(secs => $3), error_code = $4, error_message = $5,
				gone_at = case when $2 = 'gone' then now() end
			where instance_id = $1 and state in ('quarantine', 'reported', 'kept', 'deleting')
			returning instance_id, request_id, $6 || coalesce(': ' || $5, '') as detail
		)`+tellOrphans, d.InstanceID, state, seconds(d.Delay), code, message, detail)
	return translate(s.pool.SendBatch(ctx, b))
}

// Orphans counts those that are not gone, by state.
func (s *Store) Orphans(ctx context.Context) (map[string]int, error) {
	rows, err := s.pool.Query(ctx, `select state, count(*) from orphans where state <> 'gone' group by state`)
	if err != nil {
		return nil, translate(err)
	}
	counts := map[string]int{"quarantine": 0, "reported": 0, "kept": 0, "deleting": 0, "refused": 0, "explained": 0, "unknown_mark": 0}
	var state string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error { counts[state] = n; return nil })
	return counts, translate(err)
}
