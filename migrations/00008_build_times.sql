-- +goose Up

-- How long builds take, as the fleet saw it: of each span of their age, how many
-- ended in it and for how many seconds builds went on in it, all together. The spans
-- are numbered by the worker, each a twentieth longer than the one before. What is old
-- fades: it is halved now and then.
create table build_times (
    project_id text             not null,
    mode       text             not null,
    flavor     text             not null, -- spec codes; empty: of any flavor
    span       integer          not null,
    ended      double precision not null,
    exposed    double precision not null,
    primary key (project_id, mode, flavor, span)
);

-- +goose Down
drop table build_times;
