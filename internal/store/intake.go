package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

const acceptSQL = `
with input as (
	select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bool[], $7::text[], $8::bytea[],
		$9::bytea[], $10::text[], $11::text[], $12::timestamptz[], $13::bigint[], $14::text[])
		with ordinality
	as i(request_id, project_id, region, name, mode, prepaid, spec, sealed_password,
		fingerprint, requested_by, traceparent, received_at, stream_sequence, waiting_for, place)
), claimable as (
	select i.place, m.most, row_number() over (partition by i.project_id order by i.place) as turn
	from unnest($15::text[], $16::int[]) m(project_id, most) join projects p using (project_id) join input i using (project_id)
	where $17::int > 0 and p.marks_seen_at is not null and i.region = $18
), claim as materialized (
	select array(select place from claimable where turn <= most order by turn limit $17) as places,
		array(select project_id from projects where project_id = any($2) and marks_seen_at is not null) as proved
), added as (
	insert into requests (request_id, state, fence, attempts, claimed_by, next_attempt_at, settled_at,
		project_id, region, name, mode, prepaid, spec, sealed_password,
		had_password, fingerprint, requested_by, traceparent, received_at, stream_sequence, waiting_for, look_first)
	select i.request_id, case when at_once then 'creating' else 'pending' end, at_once::int, at_once::int, case when at_once then $19::text end,
		now() + case when at_once then make_interval(secs => $20) else interval '0' end, case when at_once then now() + make_interval(secs => $21) end,
		i.project_id, i.region, i.name, i.mode, i.prepaid, i.spec::jsonb, i.sealed_password,
		i.sealed_password is not null, i.fingerprint, i.requested_by, i.traceparent, i.received_at, i.stream_sequence, i.waiting_for,
		i.project_id <> all (claim.proved)
	from input i cross join claim cross join lateral (select i.place = any (claim.places) as at_once) c
	where i.request_id <> all (array(select request_id from pruned_requests where request_id = any($1)))
	on conflict (request_id) do nothing
	returning request_id, waiting_for, mark, state
), marked as (
	insert into marks (mark, request_id) select mark, request_id from added
), intended as (
	insert into attempts (request_id, number, fence, worker) select request_id, 1, 1, $19 from added where state = 'creating'
), told as (
	insert into events (request_id, kind, state, error_message)
	select request_id, 'accepted', 'pending', 'waits for ' || waiting_for from added
	union all
	select request_id, 'creating', 'creating', null from added where state = 'creating'
)
select request_id, mark::text, state = 'creating' from added`

// added is a row that is new.
type added struct {
	id, mark string
	claimed  bool
}

// Accept implements provision.IntakeStore. In a project where tags are not known
// to be reliable, a request looks before its first call.
func (s *Store) Accept(ctx context.Context, batch []provision.NewRequest, q provision.ClaimQuery) ([]provision.Acceptance, error) {
	type row = provision.NewRequest
	ids := column(batch, func(r row) string { return r.ID })
	var news []added
	statements := &pgx.Batch{}
	statements.Queue(lockIDsSharedSQL, ids)
	statements.Queue(acceptSQL, ids,
		column(batch, func(r row) string { return r.ProjectID }),
		column(batch, func(r row) string { return r.Region }),
		column(batch, func(r row) string { return r.Name }),
		column(batch, func(r row) string { return r.Mode }),
		column(batch, func(r row) bool { return r.Prepaid }),
		column(batch, func(r row) string { return string(r.Spec) }),
		column(batch, func(r row) []byte { return r.SealedPassword }),
		column(batch, func(r row) []byte { return r.Fingerprint[:] }),
		column(batch, func(r row) *string { return text(r.RequestedBy) }),
		column(batch, func(r row) *string { return text(r.Traceparent) }),
		column(batch, func(r row) time.Time { return r.ReceivedAt }),
		column(batch, func(r row) int64 { return int64(r.Sequence) }),
		column(batch, func(r row) *string { return text(r.WaitingFor) }),
		q.Served.Projects, most(q), q.Limit, q.Served.Region, q.Worker, seconds(q.Lease), seconds(q.Settle),
	).Query(func(rows pgx.Rows) (err error) {
		news, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (a added, err error) {
			return a, row.Scan(&a.id, &a.mark, &a.claimed)
		})
		return err
	})
	if err := s.pool.SendBatch(ctx, statements); err != nil {
		return nil, translate(err)
	}
	return s.compare(ctx, batch, news)
}

// claimOf is the claim of a request that was claimed as it was taken in.
func claimOf(r provision.NewRequest, mark string) *provision.CreateClaim {
	return &provision.CreateClaim{RequestID: r.ID, Fence: 1, Attempt: 1, ProjectID: r.ProjectID, Name: r.Name, Spec: r.Spec,
		SealedPassword: r.SealedPassword, Mark: mark, Prepaid: r.Prepaid}
}

// compare tells what became of each row: those that were not added were there
// before, perhaps with another body, and perhaps pruned by now.
func (s *Store) compare(ctx context.Context, batch []provision.NewRequest, news []added) ([]provision.Acceptance, error) {
	out := make([]provision.Acceptance, len(batch))
	isNew := make(map[string]added, len(news))
	for _, a := range news {
		isNew[a.id] = a
	}
	for n, r := range batch {
		if a := isNew[r.ID]; a.claimed {
			out[n].Claim = claimOf(r, a.mark)
		}
	}
	if len(news) == len(batch) {
		return out, nil
	}
	rows, err := s.pool.Query(ctx, `select request_id, fingerprint from requests where request_id = any($1)
		union all select request_id, fingerprint from pruned_requests where request_id = any($1)`,
		column(batch, func(r provision.NewRequest) string { return r.ID }))
	if err != nil {
		return nil, translate(err)
	}
	known := map[string][32]byte{}
	var id string
	var fingerprint []byte
	if _, err = pgx.ForEachRow(rows, []any{&id, &fingerprint}, func() error {
		known[id] = [32]byte(fingerprint)
		return nil
	}); err != nil {
		return nil, translate(err)
	}
	for n, r := range batch {
		switch f, ok := known[r.ID]; {
		case isNew[r.ID].id != "":
		case !ok:
			return nil, fmt.Errorf("request %q was neither added nor found: it was removed meanwhile", r.ID)
		case f == r.Fingerprint:
			out[n].Found = provision.Duplicate
		default:
			out[n].Found = provision.Conflicting
		}
	}
	return out, nil
}

// A message that was taken in and came again, since its acknowledgement was lost, stays
// what it is, although this worker would not have taken it. A refusal that concerns a
// known request holds its row, so that the request's events are committed in the order
// of their ids.
const rejectSQL = `
with input as (
	select i.*, exists (select 1 from requests r where r.request_id = i.request_id
		and r.stream_sequence = i.stream_sequence and r.received_at = i.received_at) as taken
	from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
		$8::int[], $9::text[], $10::timestamptz[], $11::bigint[]) with ordinality
	as i(request_id, project_id, name, mode, code, reasons, body, size, requested_by, received_at, stream_sequence, place)
), added as (
	insert into rejections (request_id, project_id, name, mode, code, reasons, body, size, requested_by, received_at, stream_sequence)
	select request_id, project_id, name, mode, code, reasons::jsonb, body::json, size, requested_by, received_at, stream_sequence
	from input where not taken
	on conflict (stream_sequence, received_at) do nothing
	returning request_id, code, reasons, stream_sequence
), held as (
	select request_id, state from requests where request_id = any (array(select request_id from added))
	order by request_id
	for no key update
), told as (
	insert into events (request_id, kind, state, error_code, error_message, error_class, concerns)
	select a.request_id, case when coalesce(r.state, p.state) is null then 'rejected' else 'refused' end, coalesce(r.state, p.state, 'rejected'), a.code,
		(select string_agg(coalesce(nullif(v->>'path', ''), 'body') || ': given ' || (v->>'given') || ', allowed ' || (v->>'allowed'), '; ')
		from jsonb_array_elements(a.reasons) v), 'invalid', a.stream_sequence
	from added a left join held r on r.request_id = a.request_id
	left join pruned_requests p on p.request_id = a.request_id and p.request_id = any($1)
)
select place - 1 from input where taken`

// Reject implements provision.IntakeStore.
func (s *Store) Reject(ctx context.Context, batch []provision.Rejection) (taken []bool, err error) {
	type row = provision.Rejection
	reasons := make([]string, len(batch))
	for n, r := range batch {
		text, err := json.Marshal(r.Reasons)
		if err != nil {
			return nil, fmt.Errorf("%w: its reasons: %w", provision.ErrUnstorable, err)
		}
		reasons[n] = string(text)
	}
	ids := column(batch, func(r row) string { return r.RequestID })
	taken = make([]bool, len(batch))
	var place int64
	statements := &pgx.Batch{}
	statements.Queue(lockIDsSQL, ids)
	statements.Queue(rejectSQL, ids,
		column(batch, func(r row) *string { return text(r.ProjectID) }),
		column(batch, func(r row) *string { return text(r.Name) }),
		column(batch, func(r row) *string { return text(r.Mode) }),
		column(batch, func(r row) string { return r.Code }),
		reasons,
		column(batch, func(r row) *string { return text(string(r.Body)) }),
		column(batch, func(r row) int32 { return int32(r.Size) }),
		column(batch, func(r row) *string { return text(r.RequestedBy) }),
		column(batch, func(r row) time.Time { return r.ReceivedAt }),
		column(batch, func(r row) int64 { return int64(r.Sequence) }),
	).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&place}, func() error { taken[place] = true; return nil })
		return err
	})
	return taken, translate(s.pool.SendBatch(ctx, statements))
}
