-- +goose Up

-- What outlives a request whose history is pruned: that its id is taken, by which
-- body, and which instances it had. marks has its marks.
create table pruned_requests (
    request_id      text        primary key,
    fingerprint     bytea       not null,
    state           text        not null,
    finished_at     timestamptz not null,
    pruned_at       timestamptz not null default now()
);
create table pruned_instances (
    instance_id     text        primary key,
    request_id      text        not null
);

-- Beside instances_one_a_request, so that all instances of a request are found at
-- once, by whoever asks for its history and by whoever prunes it.
create index instances_gone on instances (request_id) where gone_at is not null;

-- The planner is to know soon what a burst changed; a sample costs the same
-- whatever the length of the history. And it is not to learn that a table is all but
-- empty, because it goes on with such plans when the table is not any more.
alter table requests set (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_threshold = 2000, autovacuum_analyze_threshold = 2000, autovacuum_analyze_scale_factor = 0.02);
alter table attempts set (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_threshold = 2000, autovacuum_analyze_threshold = 2000);
alter table instances set (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_threshold = 2000, autovacuum_analyze_threshold = 2000, autovacuum_analyze_scale_factor = 0.02);
alter table jobs set (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_threshold = 2000, autovacuum_analyze_threshold = 2000);
alter table events set (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_threshold = 2000, autovacuum_analyze_threshold = 2000, autovacuum_analyze_scale_factor = 0.02);

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
left join lateral (select * from (select * from instances n where n.request_id = r.request_id and n.gone_at is null
                   union all select * from instances n where n.request_id = r.request_id and n.gone_at is not null) n
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
       case when r.state in ('ready', 'cancelled') then null
            when r.state = 'failed' then r.error_message
            when r.cancel_requested_at is null then coalesce(r.waiting_for, r.error_message)
            else 'being cancelled' || coalesce(', waits for ' || r.waiting_for, '') end as error_message,
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
alter table requests reset (autovacuum_vacuum_threshold, autovacuum_vacuum_insert_threshold, autovacuum_analyze_threshold, autovacuum_analyze_scale_factor);
alter table attempts reset (autovacuum_vacuum_threshold, autovacuum_vacuum_insert_threshold, autovacuum_analyze_threshold);
alter table instances reset (autovacuum_vacuum_threshold, autovacuum_vacuum_insert_threshold, autovacuum_analyze_threshold, autovacuum_analyze_scale_factor);
alter table jobs reset (autovacuum_vacuum_threshold, autovacuum_vacuum_insert_threshold, autovacuum_analyze_threshold);
alter table events reset (autovacuum_vacuum_threshold, autovacuum_vacuum_insert_threshold, autovacuum_analyze_threshold, autovacuum_analyze_scale_factor);
drop index instances_gone;
drop table pruned_instances, pruned_requests;
