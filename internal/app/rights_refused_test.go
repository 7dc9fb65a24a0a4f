package app_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsDeed is what users of NATS try in vain. The subject is the one that the
// server refuses; what is done uses the client's own calls, where there are any.
type natsDeed struct {
	who     string // users, separated by spaces
	subject string
	do      func(context.Context, *natsUser) error
}

func natsDeeds() []natsDeed {
	const all = "owner worker publisher"
	asks := func(ctx context.Context, u *natsUser, subject string) error {
		_, err := u.conn.RequestWithContext(ctx, subject, nil)
		return err
	}
	onRequests := func(do func(context.Context, jetstream.Stream) error) func(context.Context, *natsUser) error {
		return func(ctx context.Context, u *natsUser) error {
			s, err := u.js.Stream(ctx, "DDS_REQUESTS")
			if err != nil {
				return err
			}
			return do(ctx, s)
		}
	}
	deeds := []natsDeed{
		{all, "$JS.API.STREAM.MSG.GET.DDS_REQUESTS", onRequests(func(ctx context.Context, s jetstream.Stream) error {
			_, err := s.GetMsg(ctx, 1)
			return err
		})},
		{all, "$JS.API.STREAM.MSG.DELETE.DDS_REQUESTS", onRequests(func(ctx context.Context, s jetstream.Stream) error { return s.DeleteMsg(ctx, 1) })},
		{all, "$JS.API.STREAM.PURGE.DDS_REQUESTS", onRequests(func(ctx context.Context, s jetstream.Stream) error { return s.Purge(ctx) })},
		{all, "$JS.API.CONSUMER.CREATE.DDS_REQUESTS.spy", onRequests(func(ctx context.Context, s jetstream.Stream) error {
			_, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{Name: "spy"})
			return err
		})},
		{"worker publisher", "$JS.API.CONSUMER.CREATE.DDS_REQUESTS.worker", onRequests(func(ctx context.Context, s jetstream.Stream) error {
			_, err := s.UpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "worker", MaxDeliver: 1})
			return err
		})},
		{"worker publisher", "$JS.API.CONSUMER.DELETE.DDS_REQUESTS.worker", onRequests(func(ctx context.Context, s jetstream.Stream) error { return s.DeleteConsumer(ctx, "worker") })},
		{"publisher", "$JS.API.CONSUMER.INFO.DDS_REQUESTS.worker", onRequests(func(ctx context.Context, s jetstream.Stream) error {
			_, err := s.Consumer(ctx, "worker")
			return err
		})},
		{"publisher", "$JS.API.STREAM.INFO.DDS_REJECTED", func(ctx context.Context, u *natsUser) error { _, err := u.js.Stream(ctx, "DDS_REJECTED"); return err }},
		{"worker", "$JS.API.CONSUMER.CREATE.DDS_EVENTS.spy.dds.events.first", func(ctx context.Context, u *natsUser) error {
			_, err := u.js.CreateConsumer(ctx, "DDS_EVENTS", jetstream.ConsumerConfig{Name: "spy", FilterSubject: "dds.events.first"})
			return err
		}},
	}
	for who, subjects := range map[string][]string{
		all: {"$JS.API.DIRECT.GET.DDS_REQUESTS", "$JS.API.CONSUMER.RESET.DDS_REQUESTS.worker", "$JS.API.STREAM.NAMES", "$SYS.REQ.SERVER.PING"},
		"owner publisher": {"$JS.API.CONSUMER.MSG.NEXT.DDS_REQUESTS.worker", "$JS.ACK.DDS_REQUESTS.worker.1.1.1.1.0",
			"dds.events.first", "dds.rejected"},
		"owner worker": {"dds.requests"},
	} {
		for _, subject := range subjects {
			deeds = append(deeds, natsDeed{who, subject, func(ctx context.Context, u *natsUser) error { return asks(ctx, u, subject) }})
		}
	}
	for _, name := range []string{"DDS_REQUESTS", "DDS_REJECTED", "DDS_EVENTS", "MINE"} {
		deeds = append(deeds, natsDeed{all, "$JS.API.STREAM.DELETE." + name, func(ctx context.Context, u *natsUser) error { return u.js.DeleteStream(ctx, name) }})
		makers := "worker publisher"
		if name == "MINE" {
			makers = all
		}
		deeds = append(deeds,
			natsDeed{makers, "$JS.API.STREAM.CREATE." + name, func(ctx context.Context, u *natsUser) error {
				_, err := u.js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{"mine"}})
				return err
			}},
			natsDeed{makers, "$JS.API.STREAM.UPDATE." + name, func(ctx context.Context, u *natsUser) error {
				_, err := u.js.UpdateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{"mine"}})
				return err
			}})
	}
	return deeds
}

// NATS refuses each user what is not his, and says so.
func TestNATSRefuses(t *testing.T) {
	s := newSecured(t)
	s.migrate()
	users := map[string]*natsUser{}
	for _, name := range []string{"owner", "worker", "publisher"} {
		users[name] = s.nats.connect(t, s.ca, name)
	}
	if _, err := users["publisher"].conn.Request("dds.requests", single("kept"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	before := s.nats.state(t)
	for _, deed := range natsDeeds() {
		for who := range strings.FieldsSeq(deed.who) {
			t.Run(who+" publishes to "+deed.subject, func(t *testing.T) {
				users[who].refused(t, fmt.Sprintf("Publish to %q", deed.subject), deed.do)
			})
		}
	}
	for who, u := range users {
		for _, subject := range []string{">", "dds.>", "dds.requests", "$JS.ACK.>", "$JS.API.>", "_INBOX.>", "_R_.>",
			"_INBOX_owner.>", "_INBOX_worker.>", "_INBOX_publisher.>"} {
			if subject == "_INBOX_"+who+".>" {
				continue
			}
			t.Run(who+" subscribes to "+subject, func(t *testing.T) {
				u.refused(t, fmt.Sprintf("Subscription to %q", subject), func(context.Context, *natsUser) error {
					_, err := u.conn.SubscribeSync(subject)
					return err
				})
			})
		}
	}
	if after := s.nats.state(t); after != before {
		t.Errorf("JetStream was\n%s\nand is\n%s", before, after)
	}
}

// What a user may ask for cannot be answered to where he may not publish: an empty
// answer would be an order there.
func TestAnswersStayInTheirAccount(t *testing.T) {
	s := newSecured(t)
	s.migrate()
	publisher, worker := s.nats.connect(t, s.ca, "publisher"), s.nats.connect(t, s.ca, "worker")
	if _, err := publisher.conn.Request("dds.requests", single("kept"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := publisher.js.CreateConsumer(t.Context(), "DDS_EVENTS", jetstream.ConsumerConfig{Name: "mine",
		FilterSubject: "dds.events.none", InactiveThreshold: time.Hour}); err != nil {
		t.Fatal(err)
	}
	before := s.nats.state(t)
	for _, target := range []string{"$JS.API.STREAM.PURGE.DDS_REQUESTS", "$JS.API.CONSUMER.DELETE.DDS_REQUESTS.worker",
		"$JS.API.STREAM.DELETE.DDS_REQUESTS", "dds.rejected", "dds.events.forged"} {
		for _, asked := range []struct {
			user          *natsUser
			subject, body string
		}{
			{publisher, "$JS.API.DIRECT.GET.DDS_EVENTS.dds.events.none", ""},
			{publisher, "$JS.API.CONSUMER.MSG.NEXT.DDS_EVENTS.mine", `{"batch":1,"no_wait":true}`},
			{worker, "$JS.API.DIRECT.GET.DDS_EVENTS.dds.events.none", ""},
		} {
			if asked.user == worker && strings.HasPrefix(target, "dds.") {
				continue // there a worker may publish
			}
			err := asked.user.conn.PublishMsg(&nats.Msg{Subject: asked.subject, Reply: target, Data: []byte(asked.body)})
			if err == nil { // answers are given in the order of the questions
				_, err = asked.user.conn.Request(asked.subject, []byte(asked.body), 10*time.Second)
			}
			if after := s.nats.state(t); err != nil || after != before {
				t.Errorf("%s, answered to %s: %v; JetStream was\n%s\nand is\n%s", asked.subject, target, err, before, after)
			}
		}
	}
}

// Nobody is let in without a key that is known, nor without TLS.
func TestNATSLetsNobodyElseIn(t *testing.T) {
	s := newSecured(t)
	stranger, err := nats.NkeyOptionFromSeed(s.nats.seeds["stranger"])
	if err != nil {
		t.Fatal(err)
	}
	for what, options := range map[string][]nats.Option{"a stranger": {nats.RootCAs(s.ca), stranger}, "nobody": {nats.RootCAs(s.ca)}} {
		if conn, err := nats.Connect(s.nats.url, options...); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", what, err)
			conn.Close()
		}
	}
	info := s.nats.greeting(t)
	if !strings.Contains(info, `"tls_required":true`) || !strings.Contains(info, `"auth_required":true`) {
		t.Errorf("it greets with %s", info)
	}
}
