package store_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
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

// benchDetail is a single node as the cloud lists it.
const benchDetail = `{"id":"i-%[1]s","name":"%[1]s","remark":"","status":"normal","port":"8635","mode":"Single","region":"aaa",
"datastore":{"type":"DDS-Community","version":"4.0"},"engine":"wiredTiger","created":"2026-11-28T07:00:00","updated":"2026-11-28T07:00:01",
"db_user_name":"rwuser","ssl":1,"vpc_id":"674e9b42-cd8d-4d25-a2e6-5abcc565b961","subnet_id":"f1df08c5-71d1-406a-aff0-de435a51007b",
"security_group_id":"7aa51dbf-5b63-40db-9724-dad3c4828b58","backup_strategy":{"start_time":"08:00-09:00","keep_days":8},"pay_mode":"0",
"maintenance_window":"02:00-06:00","groups":[{"type":"single","id":"8f1d-%[1]s-group","name":"single","status":"normal","volume":{"size":"20","used":"0.33"},
"nodes":[{"id":"8f1d-%[1]s-node","name":"%[1]s_single_node_1","status":"normal","role":"Primary","private_ip":"192.168.0.17","public_ip":"",
"spec_code":"dds.mongodb.s6.large.2.single","availability_zone":"bbb"}]}],"enterprise_project_id":"0","time_zone":"UTC+08:00","actions":[],
"tags":[{"key":"provision-request","value":"5c0b9a52-4a85-4f2d-8d5b-4de0f7f2ba0d"},{"key":"provision-by","value":"2b8a2a0e-3c59-4b36-9f7c-62a2c2b9c3b1"}]}`

// BenchmarkLife lets requests live, in batches of several sizes: half of them are
// claimed as they are taken in, the others afterwards; all are recorded as created, and
// a look finds them ready. It tells the time of each step for a request, its WAL, and
// the CPU time that Postgres spent on it where that can be read.
func BenchmarkLife(b *testing.B) {
	for _, size := range []int{1, 16, 64, 250} {
		b.Run(strconv.Itoa(size), func(b *testing.B) { benchmarkLife(b, size) })
	}
}

func benchmarkLife(b *testing.B, size int) {
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

	steps := []string{"accept", "claim", "accept-claimed", "record", "claim-poll", "record-poll"}
	took, cpu, wal, rows := map[string]time.Duration{}, map[string]time.Duration{}, map[string]int64{}, map[string]int{}
	lsn := func() (n int64) {
		must(sql.QueryRow(b.Context(), `select pg_current_wal_insert_lsn() - '0/0'::pg_lsn`).Scan(&n))
		return n
	}
	step := func(name string, n int, do func() error) {
		before, spent, written := time.Now(), cpuOf(backend), lsn()
		must(do())
		took[name] += time.Since(before)
		cpu[name] += cpuOf(backend) - spent
		wal[name] += lsn() - written
		rows[name] += n
	}
	query := provision.ClaimQuery{Served: served, Worker: "w1", Limit: size, Lease: time.Minute, Settle: time.Hour}
	n := 0
	for b.Loop() {
		first, second := benchRequests(n, size), benchRequests(n+size, size)
		n += 2 * size
		step("accept", size, func() error {
			_, err := s.Accept(b.Context(), first, provision.ClaimQuery{})
			return err
		})
		var claims []provision.CreateClaim
		step("claim", size, func() (err error) {
			claims, err = s.ClaimCreates(b.Context(), query)
			return err
		})
		step("accept-claimed", size, func() error {
			found, err := s.Accept(b.Context(), second, query)
			for _, f := range found {
				claims = append(claims, *f.Claim)
			}
			return err
		})
		results := make([]provision.CreateResult, len(claims))
		for i, c := range claims {
			results[i] = created(c)
		}
		for part := range slices.Chunk(results, size) {
			step("record", size, func() error { return s.RecordCreates(b.Context(), part) })
		}
		for range 2 {
			var polls []provision.PollClaim
			step("claim-poll", size, func() (err error) {
				polls, err = s.ClaimPolls(b.Context(), query)
				return err
			})
			seen := make([]provision.PollResult, len(polls))
			for i, p := range polls {
				detail := fmt.Sprintf(benchDetail, p.RequestID)
				seen[i] = provision.PollResult{RequestID: p.RequestID, InstanceID: p.InstanceID, JobID: p.JobID, JobStatus: "Completed", Progress: 100,
					Instance: &provision.Instance{ID: p.InstanceID, Status: "normal", Port: "8635", Addresses: []string{"192.168.0.17:8635"}, Detail: []byte(detail)},
					State:    provision.Ready, Changed: true}
			}
			step("record-poll", size, func() error { return s.RecordPolls(b.Context(), seen) })
		}
		events, after, err := s.Unpublished(b.Context(), 100*size)
		must(err)
		published := provision.Published{After: after}
		for _, e := range events {
			published.IDs, published.Last = append(published.IDs, e.ID), uint64(e.ID)
		}
		must(s.MarkPublished(b.Context(), published))
	}
	for _, name := range steps {
		of := func(sum int64) float64 { return float64(sum) / float64(rows[name]) }
		b.ReportMetric(of(took[name].Microseconds()), name+"-µs/req")
		b.ReportMetric(of(wal[name]), name+"-WAL-B/req")
		if cpu[name] > 0 {
			b.ReportMetric(of(cpu[name].Microseconds()), name+"-pg-µs/req")
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
