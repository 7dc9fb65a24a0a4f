-- +goose Up

-- Who we are: the value of the tag provision-by, and what the streams are
-- compared with. One row.
create table installation (
    only_one   boolean primary key default true check (only_one),
    id         uuid        not null default gen_random_uuid(),
    epoch      integer     not null default 1,
    created_at timestamptz not null default now()
);
insert into installation default values;

-- What was learnt about a project of the cloud.
create table projects (
    project_id    text primary key,
    -- A mark of ours came back in a list, so tags can be relied on there.
    marks_seen_at timestamptz
);

create table requests (
    request_id      text        primary key check (request_id ~ '^[ -~]{1,128}$'),
    state           text        not null check (state in
                        ('pending', 'creating', 'building', 'ready', 'failed', 'cancelled')),
    project_id      text        not null,
    region          text        not null,
    name            text        not null,
    mode            text        not null,
    prepaid         boolean     not null,
    -- The body of the create call, without its password.
    spec            jsonb       not null,
    -- Opened by the creator right before the call; erased when no call can follow.
    sealed_password bytea       check (sealed_password is null or state in ('pending', 'creating')),
    fingerprint     bytea       not null check (octet_length(fingerprint) = 32),
    -- The value of the tag provision-request: ours alone, even in a shared account.
    mark            uuid        not null default gen_random_uuid() unique,

    -- When somebody may act on it. A claim moves it to the end of its lease.
    next_attempt_at timestamptz not null default now(),
    waiting_for     text,
    look_first      boolean     not null default false,
    claimed_by      text,
    fence           bigint      not null default 0,

    attempts        integer     not null default 0,
    looks           integer     not null default 0,
    first_attempt_at timestamptz,
    -- From then on a call that was made can no longer appear unseen.
    settled_at      timestamptz,
    -- Instances of that name before the first call, where tags cannot be relied on.
    namesakes       text[],

    error_code      text,
    error_message   text,
    error_class     text,
    cloud_request_id text,
    repeats         integer     not null default 0,

    requested_by    text,
    traceparent     text,
    stream_sequence bigint      not null,
    received_at     timestamptz not null,
    accepted_at     timestamptz not null default now(),
    finished_at     timestamptz,
    check ((finished_at is not null) = (state in ('ready', 'failed', 'cancelled')))
);

create index requests_to_call on requests (project_id, region, next_attempt_at)
    where state = 'pending' and not look_first;
create index requests_to_look on requests (project_id, region, next_attempt_at)
    where state = 'creating' or (state = 'pending' and look_first);
-- Without tags only one open request may hold a name.
create unique index requests_one_of_a_name on requests (project_id, name)
    where namesakes is not null and state in ('pending', 'creating', 'building');
create index requests_by_name on requests (project_id, name);
create index requests_by_state on requests (state) where state in ('pending', 'creating', 'building');

create table rejections (
    id              bigint      generated always as identity primary key,
    request_id      text        not null,
    project_id      text,
    name            text,
    mode            text,
    code            text        not null,
    reasons         jsonb       not null,
    -- As it came, without secrets: json, because jsonb refuses what is refused here.
    body            json,
    size            integer     not null,
    requested_by    text,
    stream_sequence bigint      not null,
    received_at     timestamptz not null,
    rejected_at     timestamptz not null default now(),
    unique (stream_sequence, received_at)
);
create index rejections_by_request on rejections (request_id, id desc);

create table attempts (
    request_id      text        not null references requests,
    number          integer     not null,
    fence           bigint      not null,
    worker          text        not null,
    intended_at     timestamptz not null default now(),
    -- Null while nothing is known: the call may have happened.
    outcome         text        check (outcome in
                        ('created', 'not_executed', 'busy', 'unknown', 'conflict', 'permanent')),
    finished_at     timestamptz,
    took            interval,
    http_status     integer,
    error_code      text,
    error_message   text,
    error_class     text,
    cloud_request_id text,
    instance_id     text,
    job_id          text,
    primary key (request_id, number)
);

create table instances (
    instance_id     text        primary key,
    request_id      text        not null references requests,
    project_id      text        not null,
    name            text        not null,
    order_id        text,
    adopted         boolean     not null,
    status          text        not null,
    port            text,
    addresses       text[],
    -- The instance as the cloud listed it last.
    detail          jsonb,
    -- When to look at it again; null when nobody needs to.
    next_look_at    timestamptz,
    looks           integer     not null default 0,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    gone_at         timestamptz
);
create unique index instances_one_a_request on instances (request_id) where gone_at is null;
create index instances_to_look on instances (project_id, next_look_at) where next_look_at is not null;

create table jobs (
    job_id          text        primary key,
    request_id      text        not null references requests,
    instance_id     text        not null references instances,
    status          text        not null default 'Running',
    progress        integer     not null default 0 check (progress between 0 and 100),
    fail_reason     text,
    cloud_created_at timestamptz,
    cloud_ended_at  timestamptz,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now()
);
create index jobs_by_request on jobs (request_id);
create index jobs_by_instance on jobs (instance_id);

create table events (
    id              bigint      generated always as identity primary key,
    request_id      text        not null,
    at              timestamptz not null default now(),
    kind            text        not null,
    state           text        not null,
    progress        integer,
    instance_id     text,
    job_id          text,
    error_code      text,
    error_message   text,
    error_class     text,
    -- What was seen, in words; and the cloud's own id of the call it was seen in.
    detail          text,
    cloud_request_id text,
    -- The one message of the request stream that a refusal is about.
    concerns        bigint,
    -- Its place in DDS_EVENTS; null until it is published.
    stream_sequence bigint
);
create index events_of_request on events (request_id, id);
create index events_to_publish on events (id) where stream_sequence is null;

create table orphans (
    instance_id     text        primary key,
    project_id      text        not null,
    name            text        not null,
    mark            text,
    request_id      text        references requests,
    status          text        not null,
    why             text        not null,
    evidence        jsonb,
    first_seen_at   timestamptz not null default now(),
    last_seen_at    timestamptz not null default now()
);
create index orphans_by_request on orphans (request_id);

create view provisioning_history as
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
drop view provisioning_history;
drop table orphans, events, jobs, instances, attempts, rejections, requests, projects, installation;
