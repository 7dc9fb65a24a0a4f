-- +goose Up

-- How fast the fleet may call: a row for the account and one for each project. All
-- workers read and write them, each time if nobody else did since (version), and
-- hold no lock while they decide.
create table budgets (
    scope           text        primary key, -- 'account', 'project:<id>'
    version         bigint      not null default 0,
    -- What the cloud's 429s taught: from cut_at on so many calls a second, rising
    -- from there; null while nothing is known. seen_rate is where it refused.
    learnt_rate     float8,
    seen_rate       float8,
    cut_at          timestamptz,
    refused_at      timestamptz, -- the last 429
    throttled_since timestamptz, -- the first of them
    hold_until      timestamptz, -- no call before, as the cloud asked
    -- Calls that were not refused: each forgotten within a second or so, and all
    -- since cut_at.
    sent            float8      not null default 0,
    sent_at         timestamptz,
    accepted        bigint      not null default 0,
    -- When the next call of each limit and of each lane is due.
    pace            jsonb       not null default '{}'
) with (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);

-- +goose Down
drop table budgets;
