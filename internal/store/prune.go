package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

// A batch is small enough that nobody waits long for what it locks.
const (
	pruneBatch = 1000   // ids
	prunePage  = 10_000 // events that they are looked for in
)

// What ended long ago is found by its oldest events: they have the order of time
// in their ids, so no index is needed that every request would have to write. What
// is pruned has none any more, so only what is kept although it is old is read
// again by the next pass.
const pruneFindSQL = `
with page as materialized (
	select id, request_id, at, at < now() - make_interval(secs => $2) as old from events where id > $1 order by id limit $3
), found as (
	select request_id, min(id) as first from page where old group by request_id order by first limit $4
)
select coalesce((select array_agg(request_id order by first) from found), '{}'), coalesce((select max(first) from found), 0),
	coalesce((select max(id) from page), 0), (select max(at) from page), coalesce((select not bool_or(old) from page), true)`

// toldOf leaves out whatever has an event that is young, that the stream does not have yet,
// or that is the newest of all: what the stream has and is pruned here is older than
// something that is here. Most are older than all that waits in the outbox, so it is
// seldom searched.
func toldOf(requestID string) string {
	return `not exists (select 1 from events e where e.request_id = ` + requestID + ` and (
		e.id >= (select min(events[1]) from outbox) and exists (select 1 from outbox o where e.id = any(o.events))
		or e.at >= now() - make_interval(secs => $2) or e.id = (select max(id) from events)))`
}

// prunable are those of $1 that ended longer than $2 seconds ago. What may have left
// an instance of nobody's is kept until that is settled.
var prunable = `r.request_id = any($1) and r.state in ('ready', 'failed', 'cancelled') and r.finished_at < now() - make_interval(secs => $2)
	and not exists (select 1 from orphans o where o.request_id = r.request_id and o.state not in ('gone', 'explained'))
	and ` + toldOf("r.request_id")

// An id is noted as pruned before its request goes, in a transaction of its own.
var pruneNoteSQL = `
insert into pruned_requests as p (request_id, fingerprint, state, finished_at)
select r.request_id, r.fingerprint, r.state, r.finished_at from requests r where ` + prunable + `
order by r.request_id
on conflict (request_id) do update set state = excluded.state, finished_at = excluded.finished_at, pruned_at = now()`

var pruneSQL = `
with gone as (
	delete from requests r where ` + prunable + `
	and exists (select 1 from pruned_requests p where p.request_id = r.request_id)
	returning r.request_id
), refused as (
	select id as request_id from unnest($1::text[]) c(id)
	where not exists (select 1 from requests r where r.request_id = c.id) and ` + toldOf("c.id") + `
), ids as (
	select request_id from gone union select request_id from refused
), kept as (
	insert into pruned_instances (instance_id, request_id, gone)
	select i.instance_id, i.request_id, false from gone join instances i using (request_id) where i.gone_at is null
	union all
	select i.instance_id, i.request_id, true from gone join instances i using (request_id) where i.gone_at is not null
	on conflict do nothing
), jobs_gone as (
	delete from jobs j using gone where j.request_id = gone.request_id
), instances_held_gone as (
	delete from instances i using gone where i.request_id = gone.request_id and i.gone_at is null
), instances_lost_gone as (
	delete from instances i using gone where i.request_id = gone.request_id and i.gone_at is not null
), attempts_gone as (
	delete from attempts a using gone where a.request_id = gone.request_id
), orphans_gone as (
	delete from orphans o using gone where o.request_id = gone.request_id
), rejections_gone as (
	delete from rejections x using ids where x.request_id = ids.request_id
), events_gone as (
	delete from events e using ids where e.request_id = ids.request_id
	returning e.request_id
)
select (select count(*) from gone), (select count(distinct e.request_id) from events_gone e join refused using (request_id))`

// Prune implements provision.PruneStore. It takes the rights of ddsworker_pruner.
func (s *Store) Prune(ctx context.Context, olderThan time.Duration, after int64) (p provision.Pruned, err error) {
	conn, release, err := s.lead(ctx, pruneLock)
	if err != nil || conn == nil {
		return provision.Pruned{Busy: true}, err
	}
	defer release()
	ctx, cancel := s.pool.deadline(ctx)
	defer cancel()
	p, err = pruneOn(ctx, conn, olderThan, after)
	return p, translate(explain(ctx, err))
}

func pruneOn(ctx context.Context, conn *pgx.Conn, olderThan time.Duration, after int64) (p provision.Pruned, err error) {
	var ids []string
	var last, end int64
	var reached *time.Time
	if err := conn.QueryRow(ctx, pruneFindSQL, after, seconds(olderThan), prunePage, pruneBatch).Scan(&ids, &last, &end, &reached, &p.Done); err != nil {
		return p, err
	}
	if p.After = end; len(ids) == pruneBatch {
		p.After = last // those behind it are for the next batch
	}
	if reached != nil {
		p.Reached = *reached
	}
	if len(ids) == 0 {
		return p, nil
	}
	if _, err := conn.Exec(ctx, pruneNoteSQL, ids, seconds(olderThan)); err != nil {
		return p, err
	}
	// Whoever takes requests in or refuses them holds the lock of an id from before he
	// looks what is there until he has committed. So once all of them were had, everybody
	// who did not see the notes has ended, and what he left is seen by who prunes.
	if _, err := conn.Exec(ctx, lockAllIDsSQL); err != nil {
		return p, err
	}
	return p, conn.QueryRow(ctx, pruneSQL, ids, seconds(olderThan)).Scan(&p.Requests, &p.Rejections)
}
