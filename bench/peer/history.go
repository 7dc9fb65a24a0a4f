package peer

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// OnlyOurs drops what our schema has for our worker alone: the indexes that its
// claims need and the identity of rows it looks for.
func OnlyOurs() []string {
	return []string{
		`drop index requests_to_call, requests_to_look, requests_one_of_a_name`,
		`drop index instances_to_look, jobs_by_request, orphans_by_request, rejections_by_request`,
	}
}

// openPool connects with a pool of so many connections, with prepared statements
// (pgx's default).
func openPool(ctx context.Context, url string, conns int) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = int32(conns)
	cfg.MinConns = int32(conns)
	cfg.ConnConfig.StatementCacheCapacity = 64
	return pgxpool.NewWithConfig(ctx, cfg)
}

// request is one request on its way through a peer.
type request struct {
	id, name, region, mode, project string
	body                            []byte // as published
	spec                            []byte // without the password
	fingerprint                     [32]byte
	mark                            string
	received                        time.Time
	sequence                        uint64
}

func readRequest(id, project string, body []byte) (r request, err error) {
	var spec map[string]any
	if err := json.Unmarshal(body, &spec); err != nil {
		return r, err
	}
	delete(spec, "password")
	r = request{id: id, project: project, body: body, mark: uuid.NewString()}
	r.region, _ = spec["region"].(string)
	r.name, _ = spec["name"].(string)
	r.mode, _ = spec["mode"].(string)
	if r.spec, err = json.Marshal(spec); err != nil {
		return r, err
	}
	r.fingerprint = sha256.Sum256(r.spec)
	return r, nil
}

const worker = "peer"

// begin records that the request is there, and the intent to call: one commit.
func begin(ctx context.Context, db *pgxpool.Pool, r request) error {
	b := &pgx.Batch{}
	b.Queue(`insert into requests (request_id, state, project_id, region, name, mode, prepaid, spec, fingerprint, mark, claimed_by, fence,
		attempts, first_attempt_at, stream_sequence, received_at)
		values ($1, 'creating', $2, $3, $4, $5, false, $6, $7, $8, $9, 1, 1, now(), $10, $11)`,
		r.id, r.project, r.region, r.name, r.mode, r.spec, r.fingerprint[:], r.mark, worker, int64(r.sequence), r.received)
	b.Queue(`insert into attempts (request_id, number, fence, worker) values ($1, 1, 1, $2)`, r.id, worker)
	b.Queue(`insert into events (request_id, kind, state) values ($1, 'accepted', 'pending'), ($1, 'creating', 'creating')`, r.id)
	return sendBatch(ctx, db, b)
}

// built records what the create call brought: one commit.
func built(ctx context.Context, db *pgxpool.Pool, r request, c Created, took time.Duration) error {
	b := &pgx.Batch{}
	b.Queue(`update attempts set outcome = 'created', finished_at = now(), took = make_interval(secs => $2), http_status = 202,
		cloud_request_id = $3, instance_id = $4, job_id = $5 where request_id = $1 and number = 1`,
		r.id, took.Seconds(), c.RequestID, c.InstanceID, c.JobID)
	b.Queue(`insert into instances (instance_id, request_id, project_id, name, adopted, status) values ($1, $2, $3, $4, false, 'creating')`,
		c.InstanceID, r.id, r.project, r.name)
	b.Queue(`insert into jobs (job_id, request_id, instance_id) values ($1, $2, $3)`, c.JobID, r.id, c.InstanceID)
	b.Queue(`update requests set state = 'building', claimed_by = null, cloud_request_id = $2 where request_id = $1`, r.id, c.RequestID)
	b.Queue(`insert into events (request_id, kind, state, instance_id, job_id, cloud_request_id) values ($1, 'building', 'building', $2, $3, $4)`,
		r.id, c.InstanceID, c.JobID, c.RequestID)
	return sendBatch(ctx, db, b)
}

// ready records that the instance is: one commit.
func ready(ctx context.Context, db *pgxpool.Pool, id string, c Created, j Job, i Instance) error {
	b := &pgx.Batch{}
	b.Queue(`update jobs set status = $2, progress = 100, cloud_created_at = $3, cloud_ended_at = $4, updated_at = now() where job_id = $1`,
		c.JobID, j.Status, cloudTime(j.Created), cloudTime(j.Ended))
	b.Queue(`update instances set status = $2, port = $3, addresses = $4, detail = $5, updated_at = now() where instance_id = $1`,
		c.InstanceID, i.Status, i.Port, i.Addresses, i.Detail)
	b.Queue(`update requests set state = 'ready', finished_at = now() where request_id = $1`, id)
	b.Queue(`insert into events (request_id, kind, state, progress, instance_id, job_id) values ($1, 'ready', 'ready', 100, $2, $3)`,
		id, c.InstanceID, c.JobID)
	return sendBatch(ctx, db, b)
}

func cloudTime(s string) *time.Time {
	t, err := time.Parse("2006-01-02T15:04:05-0700", s)
	if err != nil {
		return nil
	}
	return &t
}

// sendBatch sends statements in one round trip and one transaction.
func sendBatch(ctx context.Context, db *pgxpool.Pool, b *pgx.Batch) error {
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("write to the database: %w", err)
	}
	return nil
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
