package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

// recoveryTimeout bounds a recovery, which changes every unfinished row.
const recoveryTimeout = 30 * time.Minute

// asOperator calls do with the right to change the one row of the installation, in one
// transaction. Workers that are at work wait for its end, so none claims what it has
// not come to yet, and none is waited for in a circle.
func (s *Store) asOperator(ctx context.Context, do func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, recoveryTimeout, silence(recoveryTimeout))
	defer cancel()
	err := pgx.BeginFunc(ctx, s.pool.pool, func(tx pgx.Tx) error {
		for _, sql := range []string{`set local statement_timeout = 0`, `select 1 from installation for update`, `lock table requests in exclusive mode`} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return do(ctx, tx)
	})
	return translate(explain(ctx, err))
}

// toldRows are what the stream tells of requests.
const toldRows = `unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bool[]) t(request_id, instance_id, job_id, event_id, state, cancelling)`

// A request has another instance only once the one before is gone.
const recoverReplacedSQL = `
update instances i set gone_at = now(), next_look_at = null, status = 'deleted', updated_at = now()
from ` + toldRows + `, requests r
where i.request_id = t.request_id and i.gone_at is null and r.request_id = t.request_id and r.state not in ('pending', 'ready')
	and t.instance_id is not null and not exists (select 1 from instances known where known.instance_id = t.instance_id)`

// The newest instance that the stream tells of a request is its instance: it goes
// on as if the answer had just been recorded. A row of pending passes through
// creating, as every other does.
const recoverToldSQL = `
with told as (
	select t.*, r.project_id, r.name, r.state as was
	from ` + toldRows + `
	join requests r using (request_id)
	where t.instance_id is not null and t.state <> 'cancelled' and r.state in ('creating', 'building')
), built as (
	insert into instances (instance_id, request_id, project_id, name, adopted, status, next_look_at)
	select instance_id, request_id, project_id, name, true, 'unknown', now() from told
	on conflict do nothing
	returning instance_id, request_id
), running as (
	insert into jobs (job_id, request_id, instance_id)
	select t.job_id, t.request_id, t.instance_id from told t join built using (request_id) where t.job_id is not null
	on conflict do nothing
), changed as (
	update requests r set state = 'building', fence = fence + 1, claimed_by = null, waiting_for = null, sealed_password = null,
		may_have_run = false, look_first = false, renew_mark = false, settled_at = clock_timestamp() + make_interval(secs => $7)
	from built where r.request_id = built.request_id
	returning r.request_id
)
insert into events (request_id, kind, state, instance_id, job_id, detail)
select t.request_id, 'adopted', 'building', t.instance_id, t.job_id, 'recovered: told by event ' || t.event_id
from told t join changed using (request_id)`

const recoverCancelledSQL = `
with told as (
	select t.* from ` + toldRows + `
	where t.state = 'cancelled'
), changed as (
	update requests r set state = 'cancelled', fence = fence + 1, claimed_by = null, waiting_for = null, sealed_password = null,
		may_have_run = false, finished_at = now()
	from told where r.request_id = told.request_id and r.state in ('pending', 'creating', 'building')
	returning r.request_id, told.event_id
), gone as (
	update instances i set gone_at = now(), next_look_at = null, updated_at = now()
	from changed where i.request_id = changed.request_id and i.gone_at is null
)
insert into events (request_id, kind, state, detail)
select request_id, 'cancelled', 'cancelled', 'recovered: told by event ' || event_id from changed`

// What failed as far as the database knows may have been retried since and handed
// out; what was pending in the backup may have been cancelled before the recovery. The
// instance is recorded for its request, so that it is nobody's orphan and a retry finds
// it.
const recoverKeptSQL = `
with kept as (
	insert into instances (instance_id, request_id, project_id, name, adopted, status)
	select t.instance_id, r.request_id, r.project_id, r.name, true, 'unknown'
	from ` + toldRows + `
	join requests r using (request_id)
	where t.instance_id is not null and t.state <> 'cancelled' and r.state in ('failed', 'cancelled')
	on conflict do nothing
	returning instance_id, request_id
)
insert into events (request_id, kind, state, instance_id, detail)
select k.request_id, 'recovered', r.state, k.instance_id, 'told by event ' || t.event_id || ' to be ' || t.state || ' since: '
	|| case r.state when 'failed' then 'retry it to have its instance followed again' else 'its instance is left as it is, delete it in the console if it is not wanted' end
from kept k join requests r using (request_id) join ` + toldRows + ` on t.request_id = k.request_id`

// A retry since the backup makes a call under a mark that is forgotten. So whoever
// retries it again looks for what carries our installation's name, and asks for an
// explanation of it. What the stream tells to wait for a call is retried if the database
// has it failed, or being built.
const recoverRetriedSQL = `
with told as (
	select t.* from ` + toldRows + `
	where t.state in ('pending', 'creating')
), changed as (
	update requests r set may_have_run = true, settled_at = clock_timestamp() + make_interval(secs => $7), cancel_requested_at = null, cancel_requested_by = null,
		error_message = case when r.state = 'building' then r.error_message else coalesce(r.error_message || ' – ', '')
			|| 'it was retried after the backup that the database was restored from, and a call may have run: retry it to have that looked for' end
	from told t where r.request_id = t.request_id and r.state in ('failed', 'building')
	returning r.request_id, r.state, t.event_id
)
insert into events (request_id, kind, state, detail)
select request_id, 'recovered', state, 'retried since, told by event ' || event_id || ': a call may have run, and is looked for when it is retried again' from changed`

// A trigger makes the wish due and erases the password.
const recoverWishedSQL = `
update requests r set cancel_requested_at = now(), cancel_requested_by = 'somebody before the restore, told by event ' || t.event_id
from ` + toldRows + `
where r.request_id = t.request_id and t.cancelling and t.state not in ('ready', 'cancelled')
	and r.state in ('pending', 'creating', 'building') and r.cancel_requested_at is null
	and not exists (select 1 from instances i where i.request_id = r.request_id and i.gone_at is null and i.handed_out)`

// What was ready is in use, however its request is followed again: a wish to cancel it,
// which came before the database had been recovered, is dropped, and none comes after.
const recoverHandedOutSQL = `
with told as (
	select t.* from ` + toldRows + `
	where t.state = 'ready' and t.instance_id is not null
), marked as (
	update instances i set handed_out = true from told t where i.instance_id = t.instance_id and i.request_id = t.request_id
), dropped as (
	update requests r set cancel_requested_at = null, cancel_requested_by = null
	from told t, requests before
	where r.request_id = t.request_id and before.request_id = t.request_id
		and r.state in ('creating', 'building') and r.cancel_requested_at is not null
	returning r.request_id, r.state, t.instance_id, t.event_id, before.cancel_requested_by
)
insert into events (request_id, kind, state, instance_id, detail)
select request_id, 'recovered', state, instance_id, 'told by event ' || event_id || ' to be ready since: it is not cancelled, as '
	|| coalesce(cancel_requested_by, 'somebody') || ' had asked for'
from dropped`

// Whatever else has not ended is looked for, as a call may have run of which the
// database knows nothing.
const recoverOpenSQL = `
with changed as (
	update requests set look_first = look_first or state = 'pending', may_have_run = true, fence = fence + 1, claimed_by = null, looks = 0, renew_mark = renew_mark and not prepaid,
		next_attempt_at = now(), settled_at = clock_timestamp() + make_interval(secs => $1), -- a claim may have come after now()
		waiting_for = 'a look for what was made after the backup that the database was restored from'
	where state in ('pending', 'creating')
	returning request_id, state, waiting_for
)
insert into events (request_id, kind, state, detail) select request_id, 'recovered', state, waiting_for from changed`

const recoverBuildingSQL = `
update instances i set next_look_at = now() from requests r
where r.request_id = i.request_id and r.state = 'building' and i.next_look_at is not null`

// What the stream knows to have been accepted and the database does not is lost
// with its body. It is told as a rejection, because its id may be used again; the
// place of its message is not known, so that of the event stands there, negated.
const recoverLostSQL = `
with lost as (
	select t.*, a.at, coalesce('it had come to ' || t.state || ' with instance ' || t.instance_id, 'it had come to ' || t.state) as came
	from ` + toldRows + ` join unnest($1::text[], $7::timestamptz[]) a(request_id, at) using (request_id)
	where not exists (select 1 from requests r where r.request_id = t.request_id)
	and not exists (select 1 from pruned_requests p where p.request_id = t.request_id)
), told as (
	insert into rejections (request_id, code, reasons, size, stream_sequence, received_at)
	select request_id, 'LOST', jsonb_build_array(jsonb_build_object('path', 'database', 'given', 'a backup from before this request; ' || came,
		'allowed', 'publish it again if that is not what you want')), 0, -event_id, at from lost
	on conflict do nothing
), said as (
	insert into events (request_id, kind, state, instance_id, job_id, error_code, error_message)
	select request_id, 'lost', 'rejected', instance_id, job_id, 'LOST',
		'the database was restored from a backup that does not have this request; ' || came || '; publish it again if that is not what you want'
	from lost
)
select request_id from lost order by event_id`

// Recover makes this database the rightful one: it starts a new epoch at the place
// judged, takes over what the stream told, and has everything else that has not
// ended looked for before its next call; settle is how long what may run now can
// stay unseen. Known is the newest event that both have, and last the newest of the
// stream. New events come after it. It changes what a worker may not, so it needs the
// rights of the owner.
func (s *Store) Recover(ctx context.Context, judged provision.Identity, settle time.Duration, known, last int64, told []provision.Told) (r provision.Recovered, err error) {
	type row = provision.Told
	rows := []any{column(told, func(t row) string { return t.RequestID }), column(told, func(t row) *string { return text(t.InstanceID) }),
		column(told, func(t row) *string { return text(t.JobID) }), column(told, func(t row) int64 { return t.EventID }),
		column(told, func(t row) string { return string(t.State) }), column(told, func(t row) bool { return t.Cancelling })}
	settled := append(slices.Clip(rows), settle.Seconds())
	err = s.asOperator(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := moveEvents(ctx, tx, known, last); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `update installation set epoch = epoch + 1, home = $1, timeline = nullif($2, ''), recovered_at = now(),
			recovered_event = greatest(recovered_event, $3) returning id::text, epoch`, judged.Here, judged.TimelineHere, last).Scan(&r.Installation, &r.Epoch); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update requests set state = 'creating' where state = 'pending' and request_id = any($1)
			and request_id in (select id from unnest($1::text[], $2::text[]) t(id, instance) where instance is not null)`, rows[0], rows[1]); err != nil {
			return err
		}
		for _, step := range []struct {
			sql   string
			args  []any
			count *int
		}{
			{recoverCancelledSQL, rows, &r.Cancelled},
			{recoverReplacedSQL, rows, new(int)},
			{recoverToldSQL, settled, &r.Adopted},
			{recoverKeptSQL, rows, &r.Kept},
			{recoverHandedOutSQL, rows, new(int)},
			{recoverRetriedSQL, settled, &r.Retried},
			{recoverOpenSQL, []any{settle.Seconds()}, &r.LookFirst},
			{recoverWishedSQL, rows, &r.Cancelling},
			{recoverBuildingSQL, nil, &r.Building},
		} {
			tag, err := tx.Exec(ctx, step.sql, step.args...)
			if err != nil {
				return err
			}
			*step.count = int(tag.RowsAffected())
		}
		r.Lost, err = recordLost(ctx, tx, told, rows)
		return err
	})
	return r, err
}

// What commits between the restore and the recovery, such as a wish to cancel, draws ids
// that the stream may have for other events. Under them it would count as published, and
// whoever follows a request leaves out an id below the last one. So it is written anew,
// and the trigger puts it into the outbox again, behind what was there before.
const moveUntoldSQL = `
with untold as (
	delete from events where id > $1 and id in (select unnest(events) from outbox) returning *
), others as (
	update outbox set events = array(select id from unnest(events) id where id <= $1 order by id) where events[cardinality(events)] > $1
)
insert into events (request_id, at, kind, state, progress, instance_id, job_id, error_code, error_message, error_class, detail, cloud_request_id, concerns)
select request_id, at, kind, state, progress, instance_id, job_id, error_code, error_message, error_class, detail, cloud_request_id, concerns
from untold order by id`

// moveEvents lets new events come after the last of the stream, with room for those
// that it had and lost. Where the stream knows more than the database, it moves there
// too what waits to be published and came after the newest event that both have.
func moveEvents(ctx context.Context, tx pgx.Tx, known, last int64) error {
	const room = 1000
	if _, err := tx.Exec(ctx, `select setval(pg_get_serial_sequence('events', 'id'), greatest(nextval(pg_get_serial_sequence('events', 'id')), $1) + $2)`,
		last, int64(room)); err != nil || known >= last {
		return err
	}
	if _, err := tx.Exec(ctx, moveUntoldSQL, known); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `delete from outbox where events = '{}'`)
	return err
}

func recordLost(ctx context.Context, tx pgx.Tx, told []provision.Told, rows []any) ([]provision.Told, error) {
	at := column(told, func(t provision.Told) time.Time { return t.At })
	found, err := tx.Query(ctx, recoverLostSQL, append(rows, at)...)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	byID := map[string]provision.Told{}
	for _, t := range told {
		byID[t.RequestID] = t
	}
	return column(ids, func(id string) provision.Told { return byID[id] }), nil
}

// KnowsEvents tells of each event of the stream whether the database has it, or a
// recovery took it over.
func (s *Store) KnowsEvents(ctx context.Context, events []provision.Event) ([]bool, error) {
	type row = provision.Event
	rows, err := s.pool.Query(ctx, `
		select t.id <= i.recovered_event or exists (select 1 from events e where e.id = t.id and e.request_id = t.request_id and e.at = t.at)
		from unnest($1::bigint[], $2::text[], $3::timestamptz[]) with ordinality t(id, request_id, at, place) cross join installation i
		order by t.place`,
		column(events, func(e row) int64 { return e.ID }), column(events, func(e row) string { return e.RequestID }),
		column(events, func(e row) time.Time { return e.At }))
	if err != nil {
		return nil, translate(err)
	}
	knows, err := pgx.CollectRows(rows, pgx.RowTo[bool])
	return knows, translate(err)
}

// NewestEvent is when the newest event came to be that the database has; zero if
// it has none.
func (s *Store) NewestEvent(ctx context.Context) (at time.Time, err error) {
	err = s.pool.QueryRow(ctx, `select at from events order by id desc limit 1`).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, nil
	}
	return at, translate(err)
}

// What the original has under way is the original's: the copy calls for none of
// it, follows none, and looks for no mark of it.
var adoptAsNewSQL = []string{
	`delete from outbox`,
	`update requests set state = 'creating' where state = 'pending'`,
	`with changed as (
		update requests set state = 'failed', fence = fence + 1, claimed_by = null, sealed_password = null, look_first = false, waiting_for = null,
			finished_at = now(), error_code = 'COPIED', error_class = null,
			error_message = 'it belongs to the installation that this database is a copy of, which goes on with it – publish it again under a new id to have it here too'
		where state in ('creating', 'building')
		returning request_id, error_message
	) insert into events (request_id, kind, state, error_code, error_message) select request_id, 'failed', 'failed', 'COPIED', error_message from changed`,
	`update requests set mark = gen_random_uuid() where state <> 'ready'`,
	`insert into marks (mark, request_id) select mark, request_id from requests where state <> 'ready'`,
	`update instances i set next_look_at = null, gone_at = coalesce(gone_at, now()) from requests r
		where r.request_id = i.request_id and r.state <> 'ready'`,
	`update orphans set state = 'kept', policy = 'keep', error_message = 'it belongs to the installation that this database is a copy of' where state <> 'gone'`,
	`update audits set due_at = now()`,
}

// AdoptAsNew gives a copy an identity of its own, at the place judged, and tells
// how many requests it ended, which are the original's. It needs the rights of the
// owner.
func (s *Store) AdoptAsNew(ctx context.Context, judged provision.Identity) (id provision.Identity, ended int, err error) {
	err = s.asOperator(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `select count(*) from requests where state in ('pending', 'creating', 'building')`).Scan(&ended); err != nil {
			return err
		}
		for _, sql := range adoptAsNewSQL {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `update installation set id = gen_random_uuid(), epoch = 1, home = $1, timeline = nullif($2, ''), recovered_at = null, recovered_event = 0`,
			judged.Here, judged.TimelineHere); err != nil {
			return err
		}
		id, err = identityOf(ctx, tx, provision.Event{})
		return err
	})
	return id, ended, err
}
