-- +goose Up

-- Up to this event a recovery has taken over what the stream told.
alter table installation add column recovered_event bigint not null default 0;

-- +goose Down
alter table installation drop column recovered_event;
