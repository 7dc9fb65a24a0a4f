package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/bench/lab"
	"ddsworker/bench/peer"
	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/queue"
	"ddsworker/internal/store"
	"ddsworker/migrations"
)

// next begins a trial of a contestant with a database of its own.
func (b *bench) next(name string, requests int) (trial, error) {
	if b.trials == maxTrials {
		return trial{}, fmt.Errorf("more than %d trials", maxTrials)
	}
	b.trials++
	n := b.trials
	return trial{name: name, requests: requests, processes: 1, unfinished: askPeers, job: b.job, project: projectOf(n - 1), database: fmt.Sprintf("trial_%d", n)}, nil
}

func (b *bench) floor(requests int) (trial, error) {
	t, err := b.next("floor", requests)
	t.database = ""
	t.settings = fmt.Sprintf("%d calls at a time", b.Concurrency)
	t.start = func(int) (*lab.Process, error) {
		return b.lab.Role("floor", nil, "floor", "--cloud="+b.lab.CloudURL, "--project="+t.project,
			fmt.Sprintf("--requests=%d", requests), fmt.Sprintf("--concurrency=%d", b.Concurrency))
	}
	return t, err
}

// worker prepares our worker: database and streams are made, and one request has
// gone through, so that its tags are known to be reliable. more runs before the
// requests are published.
func (b *bench) worker(ctx context.Context, requests, processes int, more ...func(trial) error) (trial, error) {
	t, err := b.next("ours", requests)
	if err != nil {
		return t, err
	}
	t.processes, t.unfinished = processes, askOurs
	t.settings = b.settingsOfOurs()
	if err := b.dropStreams(ctx, queue.RequestsStream, queue.EventsStream, queue.RejectedStream); err != nil {
		return t, err
	}
	if _, err := b.lab.Database(ctx, t.database); err != nil {
		return t, err
	}
	t.start = func(n int) (*lab.Process, error) {
		if b.Profile && n == 0 {
			return b.lab.Role(t.database+"-0", b.environment(t, n), "worker", "--profile="+b.profileAddr)
		}
		return b.lab.Start(fmt.Sprintf("%s-%d", t.database, n), b.environment(t, n), b.lab.Worker)
	}
	if err := b.warmUp(ctx, t); err != nil {
		return t, err
	}
	for _, f := range more {
		if err := f(t); err != nil {
			return t, err
		}
	}
	return t, b.publish(ctx, queue.RequestsSubject, 1, requests)
}

// ourSettings are our worker's settings where they are not the product's own.
func (b *bench) ourSettings() map[string]string {
	set := map[string]string{"CREATE_CONCURRENCY": fmt.Sprint(b.Concurrency)}
	for name, value := range b.Set {
		set[name] = value
	}
	return set
}

func (b *bench) settingsOfOurs() string {
	var list []string
	for _, name := range sortedKeys(b.ourSettings()) {
		list = append(list, name+"="+b.ourSettings()[name])
	}
	return strings.Join(list, " ")
}

func (b *bench) environment(t trial, n int) []string {
	env := []string{"NATS_URL=" + b.lab.NATSURL, "DATABASE_URL=" + b.lab.DatabaseURL(t.database), "DDS_ENDPOINT=" + b.lab.CloudURL,
		"OS_AUTH_URL=" + b.lab.CloudURL, "OS_USERNAME=" + ddsfake.DefaultUser, "OS_PASSWORD=" + ddsfake.DefaultPassword,
		"OS_DOMAIN_NAME=" + ddsfake.DefaultDomain, "OS_PROJECT_ID=" + t.project, "OS_REGION_NAME=" + ddsfake.DefaultProjectName,
		"ADMIN_ADDR=127.0.0.1:0", "SECRETS_IDENTITY_FILE=" + filepath.Join(b.lab.Dir(), "identity.txt"),
		fmt.Sprintf("WORKER_NAME=worker-%d", n), "LOG_LEVEL=warn"}
	for name, value := range b.ourSettings() {
		env = append(env, name+"="+value)
	}
	return env
}

// warmUp lets one request through.
func (b *bench) warmUp(ctx context.Context, t trial) error {
	p, err := t.start(0)
	if err != nil {
		return err
	}
	if err = b.untilStreams(ctx, p); err == nil {
		_, err = b.js.PublishMsg(ctx, b.message(queue.RequestsSubject, "warm-up"))
	}
	if err == nil {
		err = b.untilReady(ctx, t, p)
	}
	if err != nil {
		return fmt.Errorf("warm the worker up: %w\n%s", err, p.LogTail())
	}
	return p.Stop()
}

// untilStreams waits until a worker has made the streams.
func (b *bench) untilStreams(ctx context.Context, p *lab.Process) error {
	return poll(ctx, 50*time.Millisecond, []<-chan struct{}{p.Ended()}, func() (bool, error) {
		_, err := b.js.Stream(ctx, queue.RequestsStream)
		return err == nil, nil
	})
}

func (b *bench) untilReady(ctx context.Context, t trial, p *lab.Process) error {
	conn, err := pgx.Connect(ctx, b.lab.DatabaseURL(t.database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return poll(ctx, 50*time.Millisecond, []<-chan struct{}{p.Ended()}, func() (ready bool, err error) {
		err = conn.QueryRow(ctx, `select count(*) > 0 from requests where request_id = 'warm-up' and state = 'ready'`).Scan(&ready)
		return ready, err
	})
}

// peerDatabase makes a database with our tables, without what only we need.
func (b *bench) peerDatabase(ctx context.Context, t trial) error {
	url, err := b.lab.Database(ctx, t.database)
	if err != nil {
		return err
	}
	if _, err := store.Migrate(ctx, url, migrations.Files); err != nil {
		return err
	}
	return b.lab.Exec(ctx, t.database, peer.OnlyOurs()...)
}

// pace is how peers follow a job that takes a second: as well as can be.
func pace() []string { return []string{"--first=1s", "--every=200ms"} }

type plainTuning struct{ goroutines, conns, calls int }

func (b *bench) plain(ctx context.Context, requests int, tuning plainTuning) (trial, error) {
	t, err := b.next("plain", requests)
	if err != nil {
		return t, err
	}
	t.settings = fmt.Sprintf("%d goroutines, %d connections, %d calls at a time", tuning.goroutines, tuning.conns, tuning.calls)
	t.start = func(int) (*lab.Process, error) {
		return b.lab.Role(t.database, []string{"DATABASE_URL=" + b.lab.DatabaseURL(t.database)}, append([]string{"plain"}, append(pace(),
			"--cloud="+b.lab.CloudURL, "--project="+t.project, "--nats="+b.lab.NATSURL, fmt.Sprintf("--calls=%d", tuning.calls),
			fmt.Sprintf("--goroutines=%d", tuning.goroutines), fmt.Sprintf("--conns=%d", tuning.conns))...)...)
	}
	if err := b.peerDatabase(ctx, t); err != nil {
		return t, err
	}
	if err := b.dropStreams(ctx, peer.PlainStream); err != nil {
		return t, err
	}
	_, err = b.js.CreateStream(ctx, jetstream.StreamConfig{Name: peer.PlainStream, Subjects: []string{peer.PlainSubject},
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew})
	if err != nil {
		return t, err
	}
	return t, b.publish(ctx, peer.PlainSubject, 1, requests)
}

type riverTuning struct {
	workers, conns int
	fetch          time.Duration
}

func (b *bench) river(ctx context.Context, requests int, tuning riverTuning) (trial, error) {
	t, err := b.next("river", requests)
	if err != nil {
		return t, err
	}
	t.settings = fmt.Sprintf("%d workers, %d connections, fetch every %v", tuning.workers, tuning.conns, tuning.fetch)
	t.start = func(int) (*lab.Process, error) {
		return b.lab.Role(t.database, []string{"DATABASE_URL=" + b.lab.DatabaseURL(t.database)}, append([]string{"river"}, append(pace(),
			"--cloud="+b.lab.CloudURL, "--project="+t.project, fmt.Sprintf("--workers=%d", tuning.workers),
			fmt.Sprintf("--conns=%d", tuning.conns), "--fetch="+tuning.fetch.String())...)...)
	}
	if err := b.peerDatabase(ctx, t); err != nil {
		return t, err
	}
	url := b.lab.DatabaseURL(t.database)
	if err := peer.MigrateRiver(ctx, url); err != nil {
		return t, err
	}
	if err := peer.InsertRiver(ctx, url, b.bodies[0], 1, requests); err != nil {
		return t, err
	}
	return t, b.lab.Exec(ctx, t.database, "vacuum analyze river_job")
}
