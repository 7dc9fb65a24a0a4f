package peer

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// River is the same job on River. Its requests wait as River's own jobs, in the
// database, so that it has no queue in front to empty.
type River struct {
	CloudURL, Project, DatabaseURL string
	// Workers is how many jobs are worked on at a time, Conns the connections to
	// Postgres. Fetch is how often River looks for jobs.
	Workers, Conns int
	Fetch          time.Duration
	// First is how long after the create call a job of the cloud is looked at
	// first, and Every how often after that.
	First, Every time.Duration
}

type provisionArgs struct {
	ID   string          `json:"id"`
	Body json.RawMessage `json:"body"`
}

// Kind implements river.JobArgs.
func (provisionArgs) Kind() string { return "provision" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (provisionArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{MaxAttempts: 5} }

// MigrateRiver makes River's tables.
func MigrateRiver(ctx context.Context, url string) error {
	db, err := openPool(ctx, url, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	m, err := rivermigrate.New(riverpgxv5.New(db), nil)
	if err != nil {
		return err
	}
	_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// InsertRiver makes a job of each request.
func InsertRiver(ctx context.Context, url string, example []byte, from, to int) error {
	db, err := openPool(ctx, url, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	client, err := river.NewClient(riverpgxv5.New(db), &river.Config{})
	if err != nil {
		return err
	}
	for n := from; n <= to; {
		var batch []river.InsertManyParams
		for ; n <= to && len(batch) < 1000; n++ {
			batch = append(batch, river.InsertManyParams{Args: provisionArgs{ID: Name(n), Body: Body(example, Name(n))}})
		}
		if _, err := client.InsertMany(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// Run works until ctx ends.
func (r River) Run(ctx context.Context) error {
	cloud, err := NewCloud(ctx, r.CloudURL, r.Project, r.Workers)
	if err != nil {
		return err
	}
	db, err := openPool(ctx, r.DatabaseURL, r.Conns)
	if err != nil {
		return err
	}
	defer db.Close()
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &provisioner{River: r, cloud: cloud, db: db}); err != nil {
		return err
	}
	client, err := river.NewClient(riverpgxv5.New(db), &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: r.Workers}},
		Workers:       workers,
		FetchCooldown: r.Fetch, FetchPollInterval: 2 * r.Fetch,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return client.Stop(stop)
}

type provisioner struct {
	river.WorkerDefaults[provisionArgs]
	River
	cloud *Cloud
	db    *pgxpool.Pool
}

// Work calls the cloud at its first turn and polls the cloud's job at all others.
func (p *provisioner) Work(ctx context.Context, job *river.Job[provisionArgs]) error {
	var about struct{ Snoozes int }
	if err := json.Unmarshal(job.Metadata, &about); err != nil {
		return err
	}
	if about.Snoozes == 0 && job.Attempt == 1 {
		return p.create(ctx, job.Args, job.CreatedAt)
	}
	return p.poll(ctx, job)
}

func (p *provisioner) create(ctx context.Context, args provisionArgs, received time.Time) error {
	r, err := readRequest(args.ID, p.Project, args.Body)
	if err != nil {
		return err
	}
	r.received = received
	if err := begin(ctx, p.db, r); err != nil {
		return err
	}
	began := time.Now()
	c, err := p.cloud.Create(ctx, tagged(r.body, r.mark))
	if err != nil {
		return err
	}
	if err := built(ctx, p.db, r, c, time.Since(began)); err != nil {
		return err
	}
	return river.JobSnooze(p.First)
}

func (p *provisioner) poll(ctx context.Context, job *river.Job[provisionArgs]) error {
	var c Created
	err := p.db.QueryRow(ctx, `select instance_id, job_id from attempts where request_id = $1 and number = 1`, job.Args.ID).Scan(&c.InstanceID, &c.JobID)
	if err != nil {
		return err
	}
	j, err := p.cloud.Job(ctx, c.JobID)
	switch {
	case err != nil:
		return err
	case j.Status == "Failed":
		return river.JobCancel(errors.New("the cloud's job failed"))
	case j.Status != "Completed":
		return river.JobSnooze(p.Every)
	}
	i, err := p.cloud.Instance(ctx, c.InstanceID)
	if err != nil {
		return err
	}
	// River completes many jobs with one statement of its own, which is faster
	// than to complete each in this transaction.
	return ready(ctx, p.db, job.Args.ID, c, j, i)
}
