package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"ddsworker/internal/localenv/envtest"
)

// natsServer runs with deploy/nats-tls.conf.
type natsServer struct {
	*server.Server
	url   string
	seeds map[string]string // files, by the names of the users
	log   *natsLog          // warnings and errors
}

// natsLog keeps what a server warns of.
type natsLog struct{ logBuffer }

func (*natsLog) Noticef(string, ...any)              {}
func (*natsLog) Debugf(string, ...any)               {}
func (*natsLog) Tracef(string, ...any)               {}
func (l *natsLog) Warnf(format string, args ...any)  { fmt.Fprintf(l, format+"\n", args...) }
func (l *natsLog) Errorf(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }
func (l *natsLog) Fatalf(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

func startSecuredNATS(t *testing.T, authority *envtest.Authority) *natsServer {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	n := &natsServer{seeds: map[string]string{}, log: &natsLog{}}
	for _, user := range []string{"owner", "worker", "publisher", "stranger"} {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		public, errPublic := pair.PublicKey()
		seed, errSeed := pair.Seed()
		if err := errors.Join(errPublic, errSeed); err != nil {
			t.Fatal(err)
		}
		n.seeds[user] = write(user+".nk", seed)
		t.Setenv(strings.ToUpper(user)+"_NKEY", public)
	}
	certificate, key := authority.Issue(t, "127.0.0.1")
	t.Setenv("NATS_TLS_CERT", write("server.crt", certificate))
	t.Setenv("NATS_TLS_KEY", write("server.key", key))
	t.Setenv("JETSTREAM_KEY", "test")
	options, err := server.ProcessConfigFile("../../deploy/nats-tls.conf")
	if err != nil {
		t.Fatal(err)
	}
	if options.JetStreamKey == "" || !options.SyncAlways {
		t.Error("the settings of nats.conf are lost")
	}
	options.Host, options.Port, options.HTTPPort, options.StoreDir, options.NoSigs = "127.0.0.1", server.RANDOM_PORT, 0, dir, true
	if n.Server, err = server.NewServer(options); err != nil {
		t.Fatal(err)
	}
	n.SetLogger(n.log, false, false)
	n.Start()
	t.Cleanup(func() {
		n.Shutdown()
		n.WaitForShutdown()
	})
	if !n.ReadyForConnections(10 * time.Second) {
		t.Fatalf("NATS does not start: %s", n.log)
	}
	n.url = n.ClientURL()
	return n
}

// natsUser is a connection with the rights of one user.
type natsUser struct {
	conn     *nats.Conn
	js       jetstream.JetStream
	refusals chan error
}

func (n *natsServer) connect(t *testing.T, ca, user string) *natsUser {
	t.Helper()
	login, err := nats.NkeyOptionFromSeed(n.seeds[user])
	if err != nil {
		t.Fatal(err)
	}
	u := &natsUser{refusals: make(chan error, 16)}
	u.conn, err = nats.Connect(n.url, login, nats.RootCAs(ca), nats.CustomInboxPrefix("_INBOX_"+user),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { u.refusals <- err }))
	if err == nil {
		t.Cleanup(u.conn.Close)
		u.js, err = jetstream.New(u.conn)
	}
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	return u
}

// refused does something and waits for the server to refuse it by the words given.
func (u *natsUser) refused(t *testing.T, words string, do func(context.Context, *natsUser) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx, u) }()
	select {
	case err := <-u.refusals:
		if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want the refusal of %s", err, words)
		}
		cancel() // the refused call would wait for an answer
		<-done
	case <-ctx.Done():
		t.Errorf("it was not refused: %v", <-done)
	}
}

func (u *natsUser) canAskForTheLastEvent(t *testing.T) {
	t.Helper()
	stream, err := u.js.Stream(t.Context(), "DDS_EVENTS")
	if err == nil {
		_, err = stream.GetLastMsgForSubject(t.Context(), "dds.events.first")
	}
	if err != nil {
		t.Error(err)
	}
}

// streams is all that JetStream has.
func (n *natsServer) streams(t *testing.T) []server.StreamDetail {
	t.Helper()
	all, err := n.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Consumer: true, Config: true})
	if err != nil {
		t.Fatal(err)
	}
	var streams []server.StreamDetail
	for _, account := range all.AccountDetails {
		streams = append(streams, account.Streams...)
	}
	return streams
}

// state tells what JetStream has: how the streams and consumers are made, what
// lies in them and what was taken.
func (n *natsServer) state(t *testing.T) string {
	t.Helper()
	var lines []string
	add := func(config any, numbers ...uint64) {
		text, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %d", text, numbers))
	}
	for _, s := range n.streams(t) {
		add(s.Config, s.State.Msgs, s.State.FirstSeq, s.State.LastSeq)
		for _, c := range s.Consumer {
			add(c.Config, c.Delivered.Stream, c.AckFloor.Stream)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// greeting is the first line that the server says.
func (n *natsServer) greeting(t *testing.T) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", n.Addr().String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// messages is how many a stream has.
func (n *natsServer) messages(t *testing.T, stream string) uint64 {
	t.Helper()
	for _, s := range n.streams(t) {
		if s.Name == stream {
			return s.State.Msgs
		}
	}
	t.Fatalf("there is no stream %s", stream)
	return 0
}

// wantTLS fails unless there are connections and each uses TLS.
func (n *natsServer) wantTLS(t *testing.T) {
	t.Helper()
	all, err := n.Connz(nil)
	if err != nil || len(all.Conns) == 0 {
		t.Fatalf("%d connections, %v", len(all.Conns), err)
	}
	for _, c := range all.Conns {
		if c.TLSVersion == "" {
			t.Errorf("the connection of %s does not use TLS", c.Name)
		}
	}
}
