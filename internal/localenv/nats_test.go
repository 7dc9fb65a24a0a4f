package localenv

import (
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestNATS(t *testing.T) {
	t.Parallel()
	n, err := StartNATS(Options{})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(n.ClientURL(), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Storage: jetstream.FileStorage}); err != nil {
		t.Fatal(err)
	}
	if ack, err := js.Publish(t.Context(), "s", nil); err != nil || ack.Sequence != 1 {
		t.Fatalf("publish: %v, %v", ack, err)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	waitGone(t, time.Second, nil, n.dir)
	if _, err := nats.Connect(n.ClientURL()); err == nil {
		t.Error("the server still listens after Stop")
	}
	if err := n.Stop(); err != nil {
		t.Errorf("a second Stop: %v", err)
	}
}

func TestNATSFixedPort(t *testing.T) { // not in parallel: see takePort
	l := takePort(t)
	port := l.Addr().(*net.TCPAddr).Port
	if _, err := StartNATS(Options{Port: port}); err == nil {
		t.Fatal("NATS started on a port that is taken")
	}
	l.Close()
	n, err := StartNATS(Options{Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Stop()
	if u, err := url.Parse(n.ClientURL()); err != nil || u.Port() != strconv.Itoa(port) {
		t.Errorf("it listens on %s, want port %d (%v)", n.ClientURL(), port, err)
	}
}
