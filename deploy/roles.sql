-- The roles of the database that this is run in, which is to hold nothing else.
-- Run it once, before the first `worker migrate`, as a superuser, or as the
-- database's owner with the right to create roles; running it again is harmless.
-- Then grants.sql, after each migration. Postgres 15 and later.
--
-- None of the four can log in: a user who can is made a member of one of them.
begin;

do $$
declare
    name text;
begin
    foreach name in array array['ddsworker_owner', 'ddsworker_worker', 'ddsworker_pruner', 'ddsworker_reader'] loop
        begin
            execute format('create role %I', name);
        exception
            -- Roles are shared by all databases: it is there, or is being made right now.
            when duplicate_object or unique_violation then null;
        end;
    end loop;
    execute format('revoke all on database %I from public', current_database());
    execute format('grant connect on database %I to ddsworker_owner, ddsworker_worker, ddsworker_pruner, ddsworker_reader', current_database());
end $$;

-- A database that comes from before Postgres 15 lets everybody make tables.
revoke all on schema public from public;
grant usage, create on schema public to ddsworker_owner;
grant usage on schema public to ddsworker_worker, ddsworker_pruner, ddsworker_reader;

commit;
