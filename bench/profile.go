package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// profileFor is how long the worker's CPU is profiled.
const profileFor = 8 * time.Second

// profiled is our worker under a load that waits; with --profile, what it and
// Postgres spend their time on is written beside the report.
func (b *bench) profiled(ctx context.Context, requests int) (trial, error) {
	t, err := b.worker(ctx, requests, 1)
	if err != nil || !b.Profile {
		return t, err
	}
	if err := os.MkdirAll(b.Out, 0o755); err != nil {
		return t, err
	}
	if err := b.lab.Exec(ctx, t.database, `create extension if not exists pg_stat_statements`, `select pg_stat_statements_reset()`); err != nil {
		return t, err
	}
	t.running = func(ctx context.Context) error {
		if err := b.fetchProfile(ctx, fmt.Sprintf("/profile?seconds=%d", int(profileFor.Seconds())), "worker.pprof"); err != nil {
			return err
		}
		if err := b.fetchProfile(ctx, "/allocs", "allocs.pprof"); err != nil {
			return err
		}
		return b.writeStatements(ctx, t)
	}
	return t, nil
}

func (b *bench) fetchProfile(ctx context.Context, path, file string) error {
	return poll(ctx, 20*time.Millisecond, nil, func() (bool, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.profileAddr+path, nil)
		if err != nil {
			return false, err
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return false, nil // it does not listen yet
		}
		defer resp.Body.Close()
		profile, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s: %.200s", path, resp.Status, profile)
		}
		if err != nil {
			return false, err
		}
		return true, os.WriteFile(filepath.Join(b.Out, file), profile, 0o644)
	})
}

// writeStatements writes what Postgres spent its time on since the reset.
func (b *bench) writeStatements(ctx context.Context, t trial) error {
	conn, err := pgx.Connect(ctx, b.lab.DatabaseURL(t.database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `select calls, rows, total_exec_time, mean_exec_time, wal_bytes::float8, shared_blks_hit + shared_blks_read, regexp_replace(query, '\s+', ' ', 'g')
		from pg_stat_statements where dbid = (select oid from pg_database where datname = current_database())
		order by total_exec_time desc limit 15`)
	if err != nil {
		return err
	}
	var out strings.Builder
	out.WriteString("   calls       rows   total ms    mean ms   WAL MiB     blocks  statement\n")
	var calls, count, blocks int64
	var total, mean, wal float64
	var query string
	if _, err := pgx.ForEachRow(rows, []any{&calls, &count, &total, &mean, &wal, &blocks, &query}, func() error {
		fmt.Fprintf(&out, "%8d %10d %10.0f %10.3f %9.1f %10d  %.160s\n", calls, count, total, mean, wal/(1<<20), blocks, query)
		return nil
	}); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.Out, "statements.txt"), []byte(out.String()), 0o644)
}
