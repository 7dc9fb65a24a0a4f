-- +goose Up

alter table requests
    -- A wish that the loops fulfil. Anybody may set it.
    add column cancel_requested_at timestamptz,
    add column cancel_requested_by text,
    -- Whether it came with a password, which is erased when no call can follow. What
    -- was taken in before this was kept counts as such.
    add column had_password     boolean  not null default true,
    -- A retry: it looks first, and gets a new mark once nothing is left of the old one.
    add column retried_at       timestamptz,
    add column renew_mark       boolean  not null default false,
    -- Attempts up to this number were made with an older mark, and settled.
    add column settled_attempts integer  not null default 0,
    -- Time since the first call in which nothing could be tried.
    add column waited           interval not null default '0',
    add check (cancel_requested_at is null or sealed_password is null),
    add check (not renew_mark or look_first or state <> 'pending');

update requests set had_password = sealed_password is not null where state in ('pending', 'creating');

alter table instances
    add column seen_at             timestamptz, -- a list showed it for the first time
    add column delete_requested_at timestamptz; -- the cloud accepted its deletion
update instances set seen_at = updated_at where detail is not null;

-- Every mark that this installation ever made. It outlives the request, so that
-- what carries it is known as ours: hence no foreign key.
create table marks (
    mark        uuid        primary key,
    request_id  text        not null,
    made_at     timestamptz not null default now()
);
create index marks_by_request on marks (request_id);
insert into marks (mark, request_id, made_at) select mark, request_id, accepted_at from requests;

-- The wish is due at once, unless a live lease holds the request. What has ended
-- cannot be cancelled, and an operator who tries is told so.
-- +goose StatementBegin
create function cancel_was_requested() returns trigger language plpgsql as $$
begin
    if old.state in ('ready', 'failed') then
        raise exception 'request % is %: it has ended and cannot be cancelled', old.request_id, old.state;
    elsif old.state = 'cancelled' then
        return old;
    end if;
    new.sealed_password := null;
    new.look_first := new.look_first or new.state = 'pending';
    if new.claimed_by is null then
        new.next_attempt_at := least(new.next_attempt_at, now());
    end if;
    update instances set next_look_at = now()
        where instances.request_id = old.request_id and gone_at is null and old.state = 'building';
    insert into events (request_id, kind, state, detail)
        values (old.request_id, 'cancelling', old.state, 'asked for by ' || new.cancel_requested_by);
    return new;
end $$;
-- +goose StatementEnd
create trigger cancel_was_requested before update of cancel_requested_at on requests
    for each row when (old.cancel_requested_at is null and new.cancel_requested_at is not null)
    execute function cancel_was_requested();

create or replace view provisioning_history as
select r.request_id, r.name, r.project_id, r.mode, r.state,
       i.instance_id, i.status as instance_status,
       j.job_id, j.status as job_status,
       case when r.state = 'ready' then 100 else j.progress end as progress,
       r.attempts,
       case when r.state = 'ready' then null else r.error_code end as error_code,
       case when r.state in ('ready', 'cancelled') then null
            when r.state = 'failed' then r.error_message
            when r.cancel_requested_at is null then coalesce(r.waiting_for, r.error_message)
            else 'being cancelled' || coalesce(', waits for ' || r.waiting_for, '') end as error_message,
       r.requested_by, r.received_at, i.created_at, r.finished_at
from requests r
left join lateral (select * from instances where instances.request_id = r.request_id
                   order by gone_at desc nulls first limit 1) i on true
left join lateral (select * from jobs where jobs.instance_id = i.instance_id
                   order by created_at desc limit 1) j on true
union all
select x.request_id, x.name, x.project_id, x.mode, 'rejected',
       null, null, null, null, null, 0, x.code,
       (select string_agg(coalesce(nullif(v->>'path', ''), 'body') || ': given ' || (v->>'given') || ', allowed ' || (v->>'allowed'), '; ')
        from jsonb_array_elements(x.reasons) v),
       x.requested_by, x.received_at, null, x.rejected_at
from rejections x
where not exists (select 1 from requests r where r.request_id = x.request_id)
  and x.id = (select max(y.id) from rejections y where y.request_id = x.request_id);

-- +goose Down
-- Every column is named, for * would hold those that earlier versions drop.
create or replace view provisioning_history as
select r.request_id, r.name, r.project_id, r.mode, r.state,
       i.instance_id, i.status as instance_status,
       j.job_id, j.status as job_status,
       case when r.state = 'ready' then 100 else j.progress end as progress,
       r.attempts,
       case when r.state = 'ready' then null else r.error_code end as error_code,
       case when r.state = 'ready' then null
            when r.state in ('pending', 'creating') then coalesce(r.waiting_for, r.error_message)
            else r.error_message end as error_message,
       r.requested_by, r.received_at, i.created_at, r.finished_at
from requests r
left join lateral (select instance_id, status, created_at from instances where instances.request_id = r.request_id
                   order by gone_at desc nulls first limit 1) i on true
left join lateral (select job_id, status, progress from jobs where jobs.instance_id = i.instance_id
                   order by created_at desc limit 1) j on true
union all
select x.request_id, x.name, x.project_id, x.mode, 'rejected',
       null, null, null, null, null, 0, x.code,
       (select string_agg(coalesce(nullif(v->>'path', ''), 'body') || ': given ' || (v->>'given') || ', allowed ' || (v->>'allowed'), '; ')
        from jsonb_array_elements(x.reasons) v),
       x.requested_by, x.received_at, null, x.rejected_at
from rejections x
where not exists (select 1 from requests r where r.request_id = x.request_id)
  and x.id = (select max(y.id) from rejections y where y.request_id = x.request_id);
drop trigger cancel_was_requested on requests;
drop function cancel_was_requested;
drop table marks;
alter table instances drop column seen_at, drop column delete_requested_at;
alter table requests drop column cancel_requested_at, drop column cancel_requested_by, drop column had_password,
    drop column retried_at, drop column renew_mark, drop column settled_attempts, drop column waited;
