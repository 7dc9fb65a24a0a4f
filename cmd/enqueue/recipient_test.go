package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
)

// questions counts how often the stream of requests is asked for from now on.
func questions(t *testing.T, js jetstream.JetStream) func() int {
	t.Helper()
	sub, err := js.Conn().SubscribeSync("$JS.API.STREAM.INFO." + queue.RequestsStream)
	if err != nil {
		t.Fatal(err)
	}
	return func() int {
		t.Helper()
		if err := js.Conn().Flush(); err != nil { // what the server sent before is here
			t.Fatal(err)
		}
		n, _, err := sub.Pending()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// publish sets the recipient that the stream publishes.
func publish(t *testing.T, js jetstream.JetStream, recipient string) {
	t.Helper()
	if err := queue.Setup(t.Context(), js, queue.Layout{Recipients: []string{recipient}, ReplaceRecipient: true}); err != nil {
		t.Fatal(err)
	}
}

func TestNobodyToSealFor(t *testing.T) {
	js := startBareNATS(t)
	body := single("test-one", canary)
	refused := func(words ...string) {
		t.Helper()
		c := enqueue(t, single("test-none", "")+body, "create", "-f", "-", "-o", "json")
		c.expect(t, 3, append(words, "--recipient", "worker migrate", "nothing was published")...)
		if c.stdout != "" {
			t.Errorf("standard output: %s", c.stdout)
		}
	}
	refused("stream DDS_REQUESTS is missing")
	if err := queue.Setup(t.Context(), js, queue.Layout{}); err != nil {
		t.Fatal(err)
	}
	refused("stream DDS_REQUESTS does not say for whom")
	publish(t, js, "age1nobody")
	refused("is no recipient", "DDS_REQUESTS", "somebody changed the stream", "--replace-recipient", "lost identity")
	if n := len(stored(t, js)); n > 0 {
		t.Fatalf("%d messages were published", n)
	}
	// Without a password nobody needs to be known, and nobody is asked.
	asked := questions(t, js)
	enqueue(t, single("test-none", ""), "create", "-f", "-").expect(t, 0)
	if asked() > 0 {
		t.Error("the stream was asked for a recipient that is not needed")
	}
}

func TestPinnedRecipient(t *testing.T) {
	pinned := newKeys()
	recipient := pinned.Recipients()[0]
	t.Setenv("DDS_RECIPIENT", recipient)
	for what, c := range map[string]struct {
		published []string
		warns     bool
	}{
		"the published one": {pinned.Recipients(), false},
		"none is published": {nil, false},
		"another one":       {fleet.Recipients(), true},
	} {
		t.Run(what, func(t *testing.T) {
			js := startBareNATS(t)
			if err := queue.Setup(t.Context(), js, queue.Layout{Recipients: c.published}); err != nil {
				t.Fatal(err)
			}
			got := enqueue(t, single("test-one", canary)+single("test-two", canary), "create", "-f", "-")
			got.expect(t, 0)
			switch {
			case c.warns:
				got.expect(t, 0, "sealed for "+recipient, fleet.Recipients()[0], "rotated", "changed the stream")
				if strings.Count(got.stderr, "warning: ") != 1 {
					t.Errorf("the same warning comes twice:\n%s", got.stderr)
				}
			case strings.Contains(got.stderr, "warning: "):
				t.Errorf("a warning without a cause:\n%s", got.stderr)
			}
			all := stored(t, js)
			for _, m := range all {
				expectNoPassword(t, m, canary)
				if pinned.takeIn(t, m).Password.Reveal() != canary {
					t.Error("another password was sealed")
				}
			}
			if len(all) != 2 {
				t.Errorf("%d messages are stored", len(all))
			}
		})
	}
}

// mute is a JetStream that gives no answers, as to one who may not ask.
type mute struct{ jetstream.JetStream }

func (mute) Stream(ctx context.Context, _ string) (jetstream.Stream, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestStreamThatCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shown bytes.Buffer
		requests := []request{{password: provision.NewSecret(canary)}}
		start := time.Now()
		err := (&preparation{}).seal(t.Context(), mute{}, &shown, requests)
		if e, ok := errors.AsType[*exitError](err); !ok || e.code != exitNATS || !strings.Contains(e.message, "--recipient") {
			t.Errorf("without a recipient: %v", err)
		}
		if took := time.Since(start); took != questionTimeout {
			t.Errorf("the question took %v", took)
		}

		recipient, err := (&preparation{recipient: "pinned"}).chooseRecipient(t.Context(), mute{}, &shown)
		if recipient != "pinned" || err != nil || shown.Len() > 0 {
			t.Errorf("recipient %q, %v; shown: %s", recipient, err, &shown)
		}
		if took := time.Since(start); took != questionTimeout+comparisonTimeout {
			t.Errorf("the questions took %v", took)
		}
	})
}

// nowhere is an address with no server.
const nowhere = "nats://127.0.0.1:1"

func TestRecipientThatIsNone(t *testing.T) {
	t.Setenv("NATS_URL", nowhere)
	for _, given := range []string{"age1nobody", fleet.identity, fleet.Recipients()[0] + " "} {
		for _, more := range []string{"--wait", "--dry-run"} {
			c := enqueue(t, single("test-one", canary), "create", "-f", "-", "--recipient", given, more)
			c.expect(t, 2, "--recipient: it is no recipient of age")
			if strings.Contains(c.stderr, given) {
				t.Errorf("what was given may be secret and is shown:\n%s", c.stderr)
			}
		}
	}
}
