-- +goose Up

-- It was ready before the database was restored from a backup that has it being
-- built: it is followed again, and never deleted.
alter table instances add column handed_out boolean not null default false;

-- The wish is due at once, unless a live lease holds the request. What has ended, or
-- was handed out, cannot be cancelled, and an operator who tries is told so.
-- +goose StatementBegin
create or replace function cancel_was_requested() returns trigger language plpgsql as $$
begin
    if old.state in ('ready', 'failed') then
        raise exception 'request % is %: it has ended and cannot be cancelled', old.request_id, old.state;
    elsif old.state = 'cancelled' then
        return old;
    elsif exists (select 1 from instances where instances.request_id = old.request_id and gone_at is null and handed_out) then
        raise exception 'request % was ready before the database was restored: it cannot be cancelled', old.request_id;
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

-- +goose Down
-- +goose StatementBegin
create or replace function cancel_was_requested() returns trigger language plpgsql as $$
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
alter table instances drop column handed_out;
