package store_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
)

// benchBody is a request as people write it, of which a store keeps the spec.
const benchBody = `{"name":"%s","datastore":{"type":"DDS-Community","version":"4.0","storage_engine":"wiredTiger"},"region":"aaa",
"availability_zone":"az1","vpc_id":"674e9b42-cd8d-4d25-a2e6-5abcc565b961","subnet_id":"f1df08c5-71d1-406a-aff0-de435a51007b",
"security_group_id":"7aa51dbf-5b63-40db-9724-dad3c4828b58","mode":"Sharding","flavor":[
{"type":"mongos","num":2,"spec_code":"dds.mongodb.c6.medium.4.mongos"},
{"type":"shard","num":2,"storage":"ULTRAHIGH","size":20,"spec_code":"dds.mongodb.c6.medium.4.shard"},
{"type":"config","num":1,"storage":"ULTRAHIGH","size":20,"spec_code":"dds.mongodb.c6.medium.4.config"}],
"backup_strategy":{"start_time":"08:15-09:15","keep_days":"7"},"ssl_option":"1"}`

func benchRequests(from, n int) []provision.NewRequest {
	batch := make([]provision.NewRequest, n)
	for i := range batch {
		id := fmt.Sprintf("bench-%08d", from+i)
		body := fmt.Sprintf(benchBody, id)
		batch[i] = provision.NewRequest{ID: id, ProjectID: project, Region: region, Name: id, Mode: "Sharding", Spec: []byte(body),
			SealedPassword: make([]byte, 200), Fingerprint: sha256.Sum256([]byte(body)), RequestedBy: "bench",
			ReceivedAt: time.Now(), Sequence: uint64(from + i)}
	}
	return batch
}

// BenchmarkCreates takes requests in, claims them and records that they were
// created, in batches of several sizes. It tells the time of each step for a
// request, and the CPU time that Postgres spent on it where it can be read.
func BenchmarkCreates(b *testing.B) {
	for _, size := range []int{1, 16, 64, 500} {
		b.Run(strconv.Itoa(size), func(b *testing.B) { benchmarkCreates(b, size) })
	}
}

func benchmarkCreates(b *testing.B, size int) {
	url := env.Postgres(b)
	s, err := store.Open(b.Context(), store.Config{URL: provision.NewSecret(url), MaxConns: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	sql, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer sql.Close(context.Background())
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	must(s.NoteMarksSeen(b.Context(), project))
	var backend int
	must(sql.QueryRow(b.Context(), `select pid from pg_stat_activity where application_name = 'ddsworker' and datname = current_database()`).Scan(&backend))

	steps := []string{"accept", "claim", "record"}
	took, cpu, wal := map[string]time.Duration{}, map[string]time.Duration{}, map[string]int64{}
	lsn := func() (n int64) {
		must(sql.QueryRow(b.Context(), `select pg_current_wal_insert_lsn() - '0/0'::pg_lsn`).Scan(&n))
		return n
	}
	step := func(name string, do func()) {
		before, spent, written := time.Now(), cpuOf(backend), lsn()
		do()
		took[name] += time.Since(before)
		cpu[name] += cpuOf(backend) - spent
		wal[name] += lsn() - written
	}
	n := 0
	for b.Loop() {
		batch := benchRequests(n, size)
		n += size
		step("accept", func() {
			_, err := s.Accept(b.Context(), batch, provision.ClaimQuery{})
			must(err)
		})
		var claims []provision.CreateClaim
		step("claim", func() {
			claims, err = s.ClaimCreates(b.Context(), provision.ClaimQuery{Served: served, Worker: "w1", Limit: size, Lease: time.Minute, Settle: time.Hour})
			must(err)
		})
		results := make([]provision.CreateResult, len(claims))
		for i, c := range claims {
			results[i] = created(c)
		}
		step("record", func() { must(s.RecordCreates(b.Context(), results)) })
	}
	for _, name := range steps {
		b.ReportMetric(float64(took[name].Microseconds())/float64(n), name+"-µs/req")
		b.ReportMetric(float64(wal[name])/float64(n), name+"-WAL-B/req")
		if cpu[name] > 0 {
			b.ReportMetric(float64(cpu[name].Microseconds())/float64(n), name+"-pg-µs/req")
		}
	}
}

// cpuOf is the CPU time of a process, 0 where it cannot be read.
func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	n, _ := strconv.ParseInt(first, 10, 64)
	return time.Duration(n)
}
