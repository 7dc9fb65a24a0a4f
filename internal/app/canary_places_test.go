package app_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsFiles is a NATS server of the test's own, whose files can be read.
type natsFiles struct {
	dir string
	url string // with a login
	nc  *nats.Conn
	js  jetstream.JetStream
}

// startNATSFiles starts a server that keeps every message in files at once,
// encrypted unless key is empty.
func startNATSFiles(t *testing.T, password, key string) *natsFiles {
	t.Helper()
	n := &natsFiles{dir: t.TempDir()}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: "canary", Password: password,
		JetStream: true, StoreDir: n.dir, JetStreamKey: key, SyncAlways: true, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not listen")
	}
	n.url = withLogin(t, s.ClientURL(), "canary", password)
	if n.nc, err = nats.Connect(n.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.nc.Close)
	if n.js, err = jetstream.New(n.nc); err != nil {
		t.Fatal(err)
	}
	return n
}

// publish stores a message in DDS_REQUESTS, also one that the stream takes for
// another with the same id at first.
func (n *natsFiles) publish(t *testing.T, r route) {
	t.Helper()
	m := nats.NewMsg("dds.requests")
	m.Data = r.body
	m.Header.Set("Nats-Msg-Id", r.name)
	for name, text := range r.header {
		m.Header.Set(name, text)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		receipt, err := n.js.PublishMsg(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if !receipt.Duplicate {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the stream takes %s for a duplicate", r.name)
		}
	}
}

// files are the bytes of everything below dir.
func files(t *testing.T, dir string) []byte {
	t.Helper()
	var all bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		all.WriteString(path + "\n")
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.Bytes()
}

// state is what a stream holds.
func (n *natsFiles) state(t *testing.T, stream string) jetstream.StreamState {
	t.Helper()
	s, err := n.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}

// messages are the headers and bodies of everything in a stream that only grows.
func (n *natsFiles) messages(t *testing.T, stream string) (all []byte) {
	t.Helper()
	s, err := n.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatalf("message %d of %s: %v", seq, stream, err)
		}
		all = fmt.Appendf(all, "%s\n%v\n%s\n", m.Subject, m.Header, m.Data)
	}
	return all
}

// rows is the text of every row of every table that is not the server's own.
func (s *system) rows() []byte {
	s.t.Helper()
	rows, err := s.db.Query(s.t.Context(), `select format('%I.%I', schemaname, tablename) from pg_tables
		where schemaname not in ('pg_catalog', 'information_schema') order by 1`)
	if err != nil {
		s.t.Fatal(err)
	}
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			s.t.Fatal(err)
		}
		tables = append(tables, name)
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	var all []byte
	for _, name := range tables {
		all = fmt.Appendf(all, "%s\n%s\n", name, s.value(`select coalesce(string_agg(x::text, E'\n'), '') from `+name+` x`))
	}
	return all
}

// serverLog is what Postgres itself prints. It is not always where it can be read.
const serverLog = "log of the server"

// dataFiles are the bytes of the database's files, of what the server's log of
// changes took up since begin, and of the server's own log where it lies beside
// its data.
func (s *system) dataFiles(begin string) map[string][]byte {
	s.t.Helper()
	if begin == "" {
		s.t.Log("the files of the database are not searched: only a superuser may read them")
		return map[string][]byte{}
	}
	if _, err := s.db.Exec(s.t.Context(), `checkpoint`); err != nil {
		s.t.Fatal(err)
	}
	out := map[string][]byte{}
	for place, query := range map[string]string{
		"files of the database": `select pg_read_binary_file(dir || '/' || name)
			from (select 'base/' || oid as dir from pg_database where datname = current_database()) d, pg_ls_dir(dir) name`,
		"log of changes": `select pg_read_binary_file('pg_wal/' || name) from pg_ls_waldir()
			where name between pg_walfile_name('` + begin + `') and pg_walfile_name(pg_current_wal_insert_lsn())`,
		serverLog: `select pg_read_binary_file(path, 0, (pg_stat_file(path, true)).size, true)
			from (select current_setting('data_directory') || '/../log' as path) p`,
	} {
		rows, err := s.db.Query(s.t.Context(), query)
		if err != nil {
			s.t.Fatalf("%s: %v", place, err)
		}
		for rows.Next() {
			var file []byte
			if err := rows.Scan(&file); err != nil {
				s.t.Fatalf("%s: %v", place, err)
			}
			out[place] = append(out[place], file...)
		}
		if err := rows.Err(); err != nil {
			s.t.Fatalf("%s: %v", place, err)
		}
	}
	return out
}

// pages is what a worker's admin server shows.
func pages(t *testing.T, w *worker) []byte {
	t.Helper()
	var all []byte
	for _, path := range []string{"/metrics", "/readyz", "/livez", "/", "/debug/pprof/", "/debug/vars"} {
		answer, err := http.Get("http://" + w.Addr + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		all = fmt.Appendf(all, "%s %s %v\n%s\n", path, answer.Status, answer.Header, text)
	}
	if !strings.Contains(string(all), "ddsworker_build_info") {
		t.Errorf("no metrics are shown: %s", all)
	}
	return all
}
