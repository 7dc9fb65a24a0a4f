-- +goose Up

-- What is not published yet. A note of it beside the event would rewrite the whole
-- row and its indexes; here it is a number that comes and goes. An event that is
-- here must not be deleted.
create table outbox (
    event_id        bigint      primary key
) with (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_insert_threshold = -1,
    autovacuum_analyze_threshold = 50000);
insert into outbox select id from events where stream_sequence is null;

-- How far into DDS_EVENTS everything that it holds is gone from the outbox. One row.
-- At 0 the relay reads the stream once, before it publishes.
create table relay (
    only_one        boolean     primary key default true check (only_one),
    sequence        bigint      not null default 0
) with (fillfactor = 10);
insert into relay default values;

drop index events_to_publish;
alter table events drop column stream_sequence;

-- Whoever writes an event, by whatever statement: it is published.
-- +goose StatementBegin
create function event_is_to_be_published() returns trigger language plpgsql as $$
begin
    insert into outbox select id from added;
    return null;
end $$;
-- +goose StatementEnd
create trigger event_is_to_be_published after insert on events
    referencing new table as added for each statement execute function event_is_to_be_published();

-- +goose Down
drop trigger event_is_to_be_published on events;
drop function event_is_to_be_published;
alter table events add column stream_sequence bigint;
update events set stream_sequence = 0 where id not in (select event_id from outbox);
create index events_to_publish on events (id) where stream_sequence is null;
drop table outbox, relay;
