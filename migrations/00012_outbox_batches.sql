-- +goose Up

-- One row for what a statement adds, instead of one for each event: what comes to the
-- outbox and goes costs next to nothing then. The number of a batch is drawn while its
-- statement still holds the locks of its requests, until the commit, so batches have the
-- order in which each request's events were committed. What waits keeps its order, one
-- event a batch.
alter table outbox rename column event_id to batch;
alter table outbox
    alter column batch add generated always as identity,
    add column events bigint[];
update outbox set events = array[batch];
alter table outbox
    alter column events set not null,
    set (autovacuum_vacuum_threshold = 500);
select setval(pg_get_serial_sequence('outbox', 'batch'), max(batch)) from outbox;

-- +goose StatementBegin
create or replace function event_is_to_be_published() returns trigger language plpgsql as $$
declare
    ids bigint[] := array(select id from added order by id);
begin
    -- 200 ids fit on a page as they are, beside others.
    for n in 1 .. cardinality(ids) by 200 loop
        insert into outbox (events) values (ids[n : n + 199]);
    end loop;
    return null;
end $$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
create or replace function event_is_to_be_published() returns trigger language plpgsql as $$
begin
    insert into outbox select id from added;
    return null;
end $$;
-- +goose StatementEnd
lock table outbox;
create temporary table unpublished on commit drop as select unnest(events) as id from outbox;
delete from outbox;
alter table outbox alter column batch drop identity;
alter table outbox drop column events, set (autovacuum_vacuum_threshold = 5000);
alter table outbox rename column batch to event_id;
insert into outbox select id from unpublished;
