package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

// Retryable tells what a retry of the request would start from. An id that nobody
// knows has no state.
func (s *Store) Retryable(ctx context.Context, id string) (f provision.RetryFound, err error) {
	err = s.pool.QueryRow(ctx, `
		select r.request_id, r.state, convert_to(r.spec::text, 'UTF8'), r.had_password, r.prepaid, coalesce(i.instance_id, ''), coalesce(o.request_id, '')
		from requests r
		left join instances i on i.request_id = r.request_id and i.gone_at is null
		left join lateral (select o.request_id from requests o where r.namesakes is not null and o.namesakes is not null
			and o.project_id = r.project_id and o.name = r.name and o.request_id <> r.request_id
			and o.state in ('pending', 'creating', 'building') limit 1) o on true
		where r.request_id = $1
		union all
		select $1, 'rejected', ''::bytea, false, false, '', ''
		where exists (select 1 from rejections where request_id = $1) and not exists (select 1 from requests where request_id = $1)`, id).
		Scan(&f.RequestID, &f.State, &f.Spec, &f.HadPassword, &f.Prepaid, &f.InstanceID, &f.NameHeldBy)
	if errors.Is(err, pgx.ErrNoRows) {
		return provision.RetryFound{RequestID: id}, nil
	}
	return f, translate(err)
}

// Retry makes a failed request pending again. It looks first, and its deadlines
// count from now. ok is false if it has left failed meanwhile.
func (s *Store) Retry(ctx context.Context, id string, sealedPassword []byte, by string) (ok bool, err error) {
	tag, err := s.pool.Exec(ctx, `
		with changed as (
			update requests set state = 'pending', look_first = true, renew_mark = true, retried_at = now(), next_attempt_at = now(),
				waiting_for = 'a look at what its earlier attempts left', sealed_password = $2, fence = fence + 1, claimed_by = null,
				first_attempt_at = null, waited = '0', looks = 0, repeats = 0, finished_at = null,
				error_code = null, error_message = null, error_class = null,
				cancel_requested_at = null, cancel_requested_by = null
			where request_id = $1 and state = 'failed'
			returning request_id
		)
		insert into events (request_id, kind, state, detail) select request_id, 'retried', 'pending', 'asked for by ' || $3 from changed`,
		id, sealedPassword, by)
	return tag.RowsAffected() == 1, translate(err)
}
