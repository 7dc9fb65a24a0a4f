package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"ddsworker/internal/provision"
)

// rights is what each role may publish; it may subscribe below its own inbox
// prefix alone.
func rights() map[string][]string {
	return map[string][]string{
		"owner": {
			"$JS.API.STREAM.INFO.*", "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*",
			"$JS.API.CONSUMER.INFO.DDS_REQUESTS.worker", "$JS.API.CONSUMER.CREATE.DDS_REQUESTS.worker",
			"$JS.API.DIRECT.GET.DDS_EVENTS.dds.events.*",
			"$JS.API.CONSUMER.CREATE.DDS_EVENTS.*.dds.events.*", "$JS.API.CONSUMER.MSG.NEXT.DDS_EVENTS.*", "$JS.API.CONSUMER.DELETE.DDS_EVENTS.*",
		},
		"worker": {
			"$JS.API.STREAM.INFO.*",
			"$JS.API.CONSUMER.INFO.DDS_REQUESTS.worker", "$JS.API.CONSUMER.MSG.NEXT.DDS_REQUESTS.worker", "$JS.ACK.DDS_REQUESTS.worker.>",
			"dds.events.*", "$JS.API.DIRECT.GET.DDS_EVENTS", "$JS.API.DIRECT.GET.DDS_EVENTS.dds.events.*", "dds.rejected",
		},
		"publisher": {
			"dds.requests", "$JS.API.STREAM.INFO.DDS_REQUESTS",
			"$JS.API.STREAM.INFO.DDS_EVENTS", "$JS.API.DIRECT.GET.DDS_EVENTS.dds.events.*",
			"$JS.API.CONSUMER.CREATE.DDS_EVENTS.*", "$JS.API.CONSUMER.CREATE.DDS_EVENTS.*.dds.events.*",
			"$JS.API.CONSUMER.MSG.NEXT.DDS_EVENTS.*", "$JS.API.CONSUMER.DELETE.DDS_EVENTS.*",
		},
	}
}

// restricted starts a server that knows the roles alone.
func restricted(t *testing.T) *server.Server {
	t.Helper()
	options := server.Options{JetStream: true, StoreDir: t.TempDir()}
	for role, subjects := range rights() {
		options.Users = append(options.Users, &server.User{Username: role, Password: "secret", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: subjects},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_" + role + ".>"}},
		}})
	}
	return startWith(t, options)
}

// as connects as a role, does something, and returns what the server refused.
func as(t *testing.T, s *server.Server, role, prefix string, do func(*Conn)) (refused string) {
	t.Helper()
	var log bytes.Buffer
	server := at("nats://" + role + ":secret@" + s.Addr().String())
	server.InboxPrefix = prefix
	conn, err := Connect(t.Context(), Config{Server: server, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))})
	if err != nil {
		t.Fatal(err)
	}
	do(conn)
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	return log.String() // nobody writes it any more
}

func TestNarrowRightsSuffice(t *testing.T) {
	s := restricted(t)
	layout := testLayout()
	layout.Recipients = []string{"age1ours"}
	var sequences []uint64
	steps := []struct {
		role string
		do   func(*Conn) error
	}{
		{"owner", func(c *Conn) error {
			changed := layout
			changed.Recipients, changed.AckWait = []string{"age1new", "age1ours"}, time.Minute
			return errors.Join(Setup(t.Context(), c.JetStream(), layout), Setup(t.Context(), c.JetStream(), changed),
				Adopt(t.Context(), c.JetStream(), layout))
		}},
		{"publisher", func(c *Conn) error {
			for range 3 {
				sequences = append(sequences, publish(t, c.JetStream(), ""))
			}
			_, err := Recipient(t.Context(), c.JetStream())
			return err
		}},
		{"worker", func(c *Conn) error {
			layout.Recipients = []string{"age1new"}
			i := NewInbox(c.JetStream(), InboxConfig{Prepare: func(ctx context.Context) error { return Check(ctx, c.JetStream(), layout) }})
			messages := receive(t, i, 3)
			health := newReports()
			g := NewGuard(c.JetStream(), layout, GuardConfig{Report: health.report})
			if err := health.await(t); err != nil {
				t.Errorf("the guard may not look: %v", err)
			}
			g.Close()
			err := errors.Join(messages[1].Settle.Ack(), messages[0].Settle.Nak(time.Minute))
			i.Close()
			copies := NewRejected(c.JetStream(), RejectedConfig{Log: slog.New(slog.DiscardHandler)})
			copies.Copy(provision.Rejection{RequestID: "one", Body: []byte("{}")})
			copies.Close()
			if copies.Dropped() != 0 {
				t.Error("no copy of a refused message was stored")
			}
			// The second comes with an old place, so the stream is read.
			events := NewEvents(c.JetStream())
			at := uint64(0)
			for _, after := range []uint64{0, 0, 1} {
				p, failed := events.Publish(t.Context(), after, []provision.Event{{ID: int64(after) + 1, RequestID: "one", State: provision.Pending}})
				err, at = errors.Join(err, failed), p.Last
			}
			if at != 2 {
				t.Errorf("the last event is at %d, want 2", at)
			}
			last, failed := LastEvent(t.Context(), c.JetStream())
			if last.ID != 2 {
				t.Errorf("the last event is %d, want 2", last.ID)
			}
			return errors.Join(err, failed)
		}},
		{"publisher", func(c *Conn) error {
			for i, want := range []bool{true, false, true} {
				if waits, err := IsWaiting(t.Context(), c.JetStream(), sequences[i]); err != nil || waits != want {
					t.Errorf("message %d waits: %v, %v", i, waits, err)
				}
			}
			for _, ids := range [][]string{{"one"}, {"one", "two"}} {
				last := int64(0)
				for e, err := range Watch(deadline(t), c.JetStream(), ids...) {
					if last = e.ID; err != nil || last == 2 {
						break
					}
				}
				if last != 2 {
					return fmt.Errorf("the events of %v ended", ids)
				}
			}
			return nil
		}},
		{"publisher", func(c *Conn) error {
			stream, err := c.JetStream().Stream(t.Context(), EventsStream)
			if err == nil {
				_, err = stream.GetLastMsgForSubject(t.Context(), EventSubject("one"))
			}
			return err
		}},
	}
	steps = append(steps, struct {
		role string
		do   func(*Conn) error
	}{"owner", func(c *Conn) error {
		last, err := LastEvent(t.Context(), c.JetStream())
		read := 0
		failed := EachEvent(deadline(t), c.JetStream(), func(provision.Event) error { read++; return nil })
		if last.ID != 2 || read != 2 {
			t.Errorf("the owner reads %d events, the last of them %d; want 2", read, last.ID)
		}
		return errors.Join(err, failed)
	}})
	for i, step := range steps {
		refused := as(t, s, step.role, "_INBOX_"+step.role, func(c *Conn) {
			if err := step.do(c); err != nil {
				t.Errorf("step %d, as %s: %v", i, step.role, err)
			}
		})
		if refused != "" {
			t.Errorf("step %d, as %s: %s", i, step.role, refused)
		}
	}
}

// What a role may not do looks like a time-out, and the log says why.
func TestRightsThatLack(t *testing.T) {
	s := restricted(t)
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	refused := as(t, s, "publisher", "", func(c *Conn) {
		if _, err := Recipient(short(), c.JetStream()); err == nil || !strings.Contains(err.Error(), "$JS.API.STREAM.INFO.DDS_REQUESTS") {
			t.Errorf("with an inbox that it may not read: %v", err)
		}
	})
	if !strings.Contains(strings.ToLower(refused), `permissions violation for subscription to \"_inbox.`) {
		t.Errorf("log: %s", refused)
	}
	refused = as(t, s, "publisher", "_INBOX_publisher", func(c *Conn) {
		if err := Setup(short(), c.JetStream(), testLayout()); err == nil {
			t.Error("a publisher may make streams")
		}
	})
	if !strings.Contains(strings.ToLower(refused), "permissions violation for publish") {
		t.Errorf("log: %s", refused)
	}
}
