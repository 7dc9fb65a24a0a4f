-- +goose Up

-- Nobody asks for the marks of a request; the jobs of an instance are among the few of
-- its request.
drop index marks_by_request, jobs_by_instance;

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
left join lateral (select * from jobs where jobs.request_id = r.request_id and jobs.instance_id = i.instance_id
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
left join lateral (select * from (select instance_id, status, created_at, gone_at from instances n where n.request_id = r.request_id and n.gone_at is null
                   union all select instance_id, status, created_at, gone_at from instances n where n.request_id = r.request_id and n.gone_at is not null) n
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
create index jobs_by_instance on jobs (instance_id);
create index marks_by_request on marks (request_id);
