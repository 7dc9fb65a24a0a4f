-- +goose Up

-- A user of the cloud that workers log in as. One of them does at a time, for
-- whatever project, so that a wrong password is not tried several times at once.
create table logins (
    auth_url        text        not null,
    domain_name     text        not null,
    user_name       text        not null,
    -- The number of the last login; whoever is to write its outcome has it.
    generation      bigint      not null,
    refreshing_by   text,
    refreshing_until timestamptz,
    -- Logins in a row whose credentials were refused, and what for. Sealed beside
    -- them are the passwords, so that a worker with another one need not wait.
    failures        integer     not null default 0,
    failure         text,
    failed_passwords bytea[]    not null default '{}',
    retry_at        timestamptz,
    primary key (auth_url, domain_name, user_name)
);

-- The token of a project, sealed, that all workers use.
create table tokens (
    auth_url        text        not null,
    domain_name     text        not null,
    user_name       text        not null,
    project_id      text        not null,
    -- The login that brought it.
    generation      bigint,
    sealed_token    bytea,
    obtained_at     timestamptz,
    expires_at      timestamptz,
    -- Logins for it in a row that failed for other reasons than the credentials.
    failures        integer     not null default 0,
    failure         text,
    retry_at        timestamptz,
    primary key (auth_url, domain_name, user_name, project_id),
    foreign key (auth_url, domain_name, user_name) references logins,
    check (num_nulls(generation, sealed_token, obtained_at, expires_at) in (0, 4))
);

-- +goose Down
drop table tokens, logins;
