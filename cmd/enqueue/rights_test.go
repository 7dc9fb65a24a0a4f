package main

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
)

// A publisher may neither read nor take what others published, and needs not.
func TestNarrowRightsSuffice(t *testing.T) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		Users: []*server.User{{Username: "fleet", Password: canary}, {Username: "publisher", Password: canary, Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{
				"dds.requests", "$JS.API.STREAM.INFO.DDS_REQUESTS",
				"$JS.API.STREAM.INFO.DDS_EVENTS", "$JS.API.DIRECT.GET.DDS_EVENTS.dds.events.*",
				"$JS.API.CONSUMER.CREATE.DDS_EVENTS.*", "$JS.API.CONSUMER.CREATE.DDS_EVENTS.*.dds.events.*",
				"$JS.API.CONSUMER.MSG.NEXT.DDS_EVENTS.*", "$JS.API.CONSUMER.DELETE.DDS_EVENTS.*",
			}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_publisher.>"}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(limit) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("fleet", canary))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := queue.Setup(t.Context(), js, queue.Layout{Recipients: fleet.Recipients()}); err != nil {
		t.Fatal(err)
	}
	w := &worker{js: js}
	w.tell(t, "used", life()...)
	w.serve(t, func(m message) []provision.Event { return map[string][]provision.Event{"new": life()}[m.id] })

	t.Setenv("NATS_URL", "nats://publisher:"+canary+"@"+s.Addr().String())
	t.Setenv("NATS_INBOX_PREFIX", "_INBOX_publisher")
	for _, id := range []string{"new", "used"} {
		c := enqueue(t, single("test-one", canary), "create", "-f", "-", "--wait", "--id", id)
		c.expect(t, 0, "ready, instance in-1")
		if strings.Contains(c.stderr, "refused") {
			t.Errorf("the server refused something:\n%s", c.stderr)
		}
	}
	c := enqueue(t, "", "wait", "new", "used")
	c.expect(t, 0, "used: ready, instance in-1")
	if strings.Contains(c.stderr, "refused") {
		t.Errorf("the server refused something:\n%s", c.stderr)
	}
}
