-- +goose Up

-- Where this database lives: the server's system identifier and the database's
-- oid, and the timeline. A worker compares them, because a copy of this database
-- holds the same id. Null until the first worker starts.
alter table installation
    add column home         text,
    add column timeline     text,
    add column recovered_at timestamptz;

-- A call may have run although no attempt tells so: the database was restored.
alter table requests add column may_have_run boolean not null default false;

-- The comparison of what the cloud lists with what is recorded here.
create table audits (
    project_id      text        not null,
    region          text        not null,
    round           bigint      not null default 0,
    due_at          timestamptz not null default now(),
    begun_at        timestamptz,
    -- Of the last round that read the whole list.
    finished_at     timestamptz,
    listed          integer,
    -- Why the last round concluded nothing.
    problem         text,
    primary key (project_id, region)
);

alter table orphans
    add column region       text,
    add column state        text        not null default 'quarantine' check (state in
                            ('quarantine', 'reported', 'kept', 'deleting', 'refused', 'gone', 'explained', 'unknown_mark')),
    -- Whole lists that showed it, and the last of them.
    add column rounds       integer     not null default 0,
    add column last_round   bigint,
    -- For this one alone, instead of ORPHAN_POLICY.
    add column policy       text        check (policy in ('report', 'delete', 'keep')),
    add column deletions    integer     not null default 0,
    -- When its deletion may be asked for again.
    add column delete_at    timestamptz,
    add column error_code   text,
    add column error_message text,
    add column gone_at      timestamptz;
create index orphans_open on orphans (project_id) where state <> 'gone';

-- +goose Down
drop index orphans_open;
alter table orphans drop column region, drop column state, drop column rounds, drop column last_round, drop column policy,
    drop column deletions, drop column delete_at, drop column error_code, drop column error_message, drop column gone_at;
drop table audits;
alter table requests drop column may_have_run;
alter table installation drop column home, drop column timeline, drop column recovered_at;
