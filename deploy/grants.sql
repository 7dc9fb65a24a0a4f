-- What worker, pruner and reader may do with the tables. Run it after each `worker migrate`
-- as the user who migrated; a worker that runs meanwhile notices nothing. It takes
-- back whatever else the three were granted. The roles are made by roles.sql.
begin;

revoke all on all tables in schema public from ddsworker_worker, ddsworker_pruner, ddsworker_reader;

-- The worker adds rows, and changes of them what is still open. It deletes
-- nothing but what it published from the outbox, and cannot rewrite what was asked
-- for nor what happened.
grant select on installation, goose_db_version to ddsworker_worker;
grant update (home, timeline) on installation to ddsworker_worker;
grant select, insert on projects, requests, marks, rejections, attempts, instances, jobs, events, orphans, audits, logins, tokens,
    budgets, build_times
    to ddsworker_worker;
grant update (marks_seen_at) on projects to ddsworker_worker;
grant update (state, sealed_password, next_attempt_at, waiting_for, look_first, claimed_by, fence, attempts, looks,
              first_attempt_at, settled_at, namesakes, error_code, error_message, error_class, cloud_request_id,
              repeats, finished_at, cancel_requested_at, cancel_requested_by, retried_at, renew_mark, mark, settled_attempts,
              waited, may_have_run)
    on requests to ddsworker_worker;
grant update (fence, worker, intended_at, outcome, finished_at, took, http_status, error_code, error_message,
              error_class, cloud_request_id, instance_id, job_id)
    on attempts to ddsworker_worker;
grant update (status, port, addresses, detail, next_look_at, looks, updated_at, seen_at, delete_requested_at, gone_at)
    on instances to ddsworker_worker;
grant update (status, progress, fail_reason, cloud_created_at, cloud_ended_at, updated_at) on jobs to ddsworker_worker;
grant select, insert, update (events), delete on outbox to ddsworker_worker;
grant select, update (sequence) on relay to ddsworker_worker;
grant update (status, first_seen_at, last_seen_at, region, state, rounds, last_round, deletions, delete_at, error_code,
              error_message, gone_at)
    on orphans to ddsworker_worker;
grant update (round, due_at, begun_at, finished_at, listed, problem) on audits to ddsworker_worker;
grant update (generation, refreshing_by, refreshing_until, failures, failure, failed_passwords, retry_at)
    on logins to ddsworker_worker;
grant update (generation, sealed_token, obtained_at, expires_at, failures, failure, retry_at)
    on tokens to ddsworker_worker;
grant update (version, learnt_rate, seen_rate, cut_at, refused_at, throttled_since, hold_until, sent, sent_at, accepted, pace)
    on budgets to ddsworker_worker;
grant update (ended, exposed) on build_times to ddsworker_worker;

grant select on pruned_requests, pruned_instances to ddsworker_worker;

-- The pruner deletes what ended long ago, and sees no more of it than that takes: for
-- `worker prune`, and for workers with RETENTION as a second role.
grant select (request_id, state, finished_at, fingerprint), delete on requests to ddsworker_pruner;
grant select (request_id, instance_id, gone_at), delete on instances to ddsworker_pruner;
grant select (request_id, state), delete on orphans to ddsworker_pruner;
grant select (id, request_id, at), delete on events to ddsworker_pruner;
grant select on outbox to ddsworker_pruner;
grant select (request_id), delete on attempts, jobs, rejections to ddsworker_pruner;
grant select, insert on pruned_requests, pruned_instances to ddsworker_pruner;
grant update (state, finished_at, pruned_at) on pruned_requests to ddsworker_pruner;

-- The reader sees everything but what is sealed: requests.sealed_password,
-- logins.failed_passwords and tokens.sealed_token.
grant select on provisioning_history, installation, projects, marks, rejections, attempts, instances, jobs, events, orphans,
    audits, budgets, build_times, outbox, relay, pruned_requests, pruned_instances, goose_db_version
    to ddsworker_reader;
grant select (request_id, state, project_id, region, name, mode, prepaid, spec, fingerprint, mark, next_attempt_at,
              waiting_for, look_first, claimed_by, fence, attempts, looks, first_attempt_at, settled_at, namesakes,
              error_code, error_message, error_class, cloud_request_id, repeats, requested_by, traceparent,
              stream_sequence, received_at, accepted_at, finished_at, cancel_requested_at, cancel_requested_by, had_password,
              retried_at, renew_mark, settled_attempts, waited, may_have_run)
    on requests to ddsworker_reader;
grant select (auth_url, domain_name, user_name, generation, refreshing_by, refreshing_until, failures, failure, retry_at)
    on logins to ddsworker_reader;
grant select (auth_url, domain_name, user_name, project_id, generation, obtained_at, expires_at, failures, failure,
              retry_at)
    on tokens to ddsworker_reader;

commit;
