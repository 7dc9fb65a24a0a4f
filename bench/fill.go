package main

import (
	"context"
	"fmt"
	"strings"
)

// kind is what requests a database is filled with.
type kind struct {
	state, jobStatus, event string
	outcome                 string // of the attempt
	events                  int    // how many of the six
}

var (
	ended    = kind{state: "ready", jobStatus: "Completed", event: "ready", outcome: "created", events: 6}
	building = kind{state: "building", jobStatus: "Running", event: "progress", outcome: "created", events: 6}
	// waiting has been called once, and told to come later.
	waiting = kind{state: "pending", outcome: "not_executed", events: 3}
)

// rowsOfEnded is how many rows a request that ended has: itself, a mark, an attempt,
// an instance, a job and six events.
const rowsOfEnded = 11

// fill makes rows as the worker would have left them, n requests of a kind.
func (b *bench) fill(ctx context.Context, t trial, n int, k kind) error {
	if n == 0 {
		return nil
	}
	say("filling the database with %s requests that are %s", thousands(n), k.state)
	at := `now() - make_interval(secs => 86400 + n)` // one a second, until yesterday
	if k != ended {
		at = `now() - interval '5 minutes'`
	}
	words := strings.NewReplacer("$n", fmt.Sprint(n), "$events", fmt.Sprint(k.events), "$outcome", k.outcome, "$state", k.state, "$job", k.jobStatus, "$event", k.event, "$at", at, "$project", t.project,
		"$finished", pick(k != ended, "null", at+" + interval '9 minutes'"),
		"$due", pick(k == waiting, "now() + make_interval(secs => 3600 + n % 3600)", at), "$look", pick(k == building, "now() + make_interval(secs => 3600 + n % 3600)", "null"),
		"$status", pick(k == building, "creating", "normal"),
		"$third", pick(k == waiting, "(3, 'waiting', 'pending')", "(3, 'building', 'building')"), "$why", pick(k == waiting, "'the cloud to be less busy'", "null"),
		"$spec", string(b.bodies[0]), "$id", `'fill-' || lpad(n::text, 9, '0')`, "$instance", `md5('i' || n) || 'in02'`, "$task", `md5('j' || n)::uuid::text`)
	statements := []string{"set synchronous_commit = off", "set session_replication_role = replica"} // no check of each row by itself, and no events to publish
	for _, s := range []string{
		`insert into requests (request_id, state, project_id, region, name, mode, prepaid, spec, fingerprint, next_attempt_at, fence, attempts,
			first_attempt_at, settled_at, stream_sequence, received_at, accepted_at, finished_at, cloud_request_id, waiting_for)
		select $id, '$state', '$project', 'aaa', 'fill-' || n, 'Single', false, ('$spec'::jsonb - 'password') || jsonb_build_object('name', 'fill-' || n),
			sha256(n::text::bytea), $due, 1, 1, $at, $at, n, $at, $at, $finished, md5('r' || n), $why from generate_series(1, $n) n`,
		`insert into marks (mark, request_id, made_at) select mark, request_id, accepted_at from requests where request_id like 'fill-%'`,
		`insert into attempts (request_id, number, fence, worker, intended_at, outcome, finished_at, took, http_status, cloud_request_id, instance_id, job_id)
		select $id, 1, 1, 'worker-0', $at, '$outcome', $at, interval '900 ms', 202, md5('r' || n), $instance, $task from generate_series(1, $n) n`,
		`insert into instances (instance_id, request_id, project_id, name, adopted, status, port, addresses, detail, next_look_at, looks, created_at, updated_at)
		select $instance, $id, '$project', 'fill-' || n, false, '$status', '8635', '{10.0.0.1:8635}', '$spec'::jsonb - 'password',
			$look, 2, $at, $at from generate_series(1, $n) n`,
		`insert into jobs (job_id, request_id, instance_id, status, progress, cloud_created_at, created_at, updated_at)
		select $task, $id, $instance, '$job', 50, $at, $at, $at from generate_series(1, $n) n`,
		`insert into events (request_id, at, kind, state, instance_id, job_id)
		select $id, $at, kind, state, case when turn > 2 then $instance end, case when turn > 2 then $task end
		from generate_series(1, $n) n, (values (1, 'accepted', 'pending'), (2, 'creating', 'creating'), $third,
			(4, 'progress', 'building'), (5, 'progress', 'building'), (6, '$event', '$state')) e(turn, kind, state) where turn <= $events`,
	} {
		if k == waiting && (strings.HasPrefix(s, "insert into instances") || strings.HasPrefix(s, "insert into jobs")) {
			continue
		}
		statements = append(statements, words.Replace(s))
	}
	return b.lab.Exec(ctx, t.database, append(statements, "vacuum analyze")...)
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}
