package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/dds/ddsfake"
)

// Reading is where all counters stand at one moment.
type Reading struct {
	Calls                 map[ddsfake.Op]int // of the cloud
	Cloud, Postgres, NATS time.Duration      // CPU time
}

// Read reads the counters. It asks for every process of the machine, which takes
// milliseconds of CPU time: it is not for asking again and again.
func (l *Lab) Read(ctx context.Context) (Reading, error) {
	stats, err := l.stats(ctx)
	if err != nil {
		return Reading{}, err
	}
	return Reading{Calls: stats.Calls, Cloud: cpuOf(l.cloud.Pid()), Postgres: cpuOf(l.pgPid), NATS: cpuOf(l.nats.Pid())}, nil
}

// Since is what happened between an earlier reading and this one.
func (r Reading) Since(before Reading) Reading {
	calls := map[ddsfake.Op]int{}
	for op, n := range r.Calls {
		if n -= before.Calls[op]; n > 0 {
			calls[op] = n
		}
	}
	return Reading{Calls: calls, Cloud: r.Cloud - before.Cloud, Postgres: r.Postgres - before.Postgres, NATS: r.NATS - before.NATS}
}

// Commits is how many transactions were committed in a database by clients that
// have gone: what a backend did is counted when it ends, so it is waited for.
func (l *Lab) Commits(ctx context.Context, database string) (n int64, err error) {
	conn, err := pgx.Connect(ctx, l.DatabaseURL(""))
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for clients := 1; clients > 0; {
		err := conn.QueryRow(ctx, `select count(*) from pg_stat_activity, pg_sleep(0.05) where datname = $1 and backend_type = 'client backend'`,
			database).Scan(&clients)
		if err != nil {
			return 0, fmt.Errorf("wait until the clients of %s have gone: %w", database, err)
		}
	}
	err = conn.QueryRow(ctx, `select xact_commit from pg_stat_database where datname = $1`, database).Scan(&n)
	return n, err
}

// Instances are those that the cloud has in a project.
func (l *Lab) Instances(ctx context.Context, project string) ([]ddsfake.Instance, error) {
	var all, its []ddsfake.Instance
	if err := l.askCloud(ctx, "/__instances", &all); err != nil {
		return nil, err
	}
	for _, i := range all {
		if i.Project == project {
			its = append(its, i)
		}
	}
	return its, nil
}

// Created is how many instances the cloud has made.
func (l *Lab) Created(ctx context.Context) (int, error) {
	stats, err := l.stats(ctx)
	return stats.CreatesExecuted, err
}

func (l *Lab) stats(ctx context.Context) (stats ddsfake.Stats, err error) {
	err = l.askCloud(ctx, "/__stats", &stats)
	return stats, err
}

func (l *Lab) askCloud(ctx context.Context, path string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.CloudURL+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the cloud answers %s to %s", resp.Status, path)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
