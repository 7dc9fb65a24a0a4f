package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/examples"
	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
)

// demo is the command that shows what the system does.
type demo struct {
	cloudFlags `embed:""`
	Dialect    string        `default:"union" help:"Which edition of the API the cloud speaks; union takes all four requests, and one of ${dialects} what it knows."`
	Limit      time.Duration `default:"60s" help:"How long the requests may take until all are ready."`
}

// Run returns nil if all requests became ready, each with one call and all with
// one login.
func (d *demo) Run(ctx context.Context, std streams) (err error) {
	cloud, err := d.config(d.Dialect)
	if err != nil {
		return err
	}
	s, err := start(ctx, options{cloud: cloud, logLevel: "warn", log: std.err})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	return d.show(ctx, s, std.out)
}

// show sends the documented requests to a running system and shows their way.
func (d *demo) show(ctx context.Context, s *system, out io.Writer) error {
	requests, err := documented()
	if err != nil {
		return err
	}
	following, cancel := context.WithTimeout(ctx, d.Limit)
	defer cancel()
	conn, err := nats.Connect(s.nats.ClientURL(), nats.Name("dev demo"))
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	publisher := queue.NewPublisher(js, 0)
	for _, r := range requests {
		if _, err := publisher.Publish(following, r); err != nil {
			return fmt.Errorf("publish %s: %w", r.ID, err)
		}
	}
	fmt.Fprintf(out, "published %d requests to %s\n\n", len(requests), queue.RequestsSubject)
	reached := follow(following, js, requests, newProgress(out))
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	failed := unlessReady(requests, reached, d.Limit)

	// What there is to see is shown although the time may be over.
	told, stop := context.WithTimeout(context.WithoutCancel(ctx), callLimit)
	defer stop()
	return errors.Join(failed, showHistory(told, s.postgres.URL(), out), showCalls(told, s.cloudURL, len(requests), out))
}

// documented are the requests of the cloud's documentation, each with the name
// of its file as its id.
func documented() ([]queue.Request, error) {
	files, err := examples.Documented.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var requests []queue.Request
	for _, f := range files {
		body, err := examples.Documented.ReadFile(f.Name())
		if err != nil {
			return nil, err
		}
		requests = append(requests, queue.Request{ID: strings.TrimSuffix(f.Name(), path.Ext(f.Name())), RequestedBy: "demo", Body: body})
	}
	return requests, nil
}

// unlessReady names the requests that are not, and how far they came.
func unlessReady(requests []queue.Request, reached map[string]provision.Event, limit time.Duration) error {
	var missing []string
	for _, r := range requests {
		switch e := reached[r.ID]; {
		case e.State == provision.Ready:
		case e.State == "":
			missing = append(missing, r.ID+" (no worker took it in)")
		case e.Error != nil:
			missing = append(missing, fmt.Sprintf("%s (%s: %s)", r.ID, e.State, e.Error.Message))
		default:
			missing = append(missing, fmt.Sprintf("%s (%s)", r.ID, e.State))
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("not ready within %v: %s", limit, strings.Join(missing, ", "))
}

// showCalls shows what the cloud itself has counted.
func showCalls(ctx context.Context, cloudURL string, wanted int, out io.Writer) error {
	body, err := get(ctx, cloudURL+"/__stats")
	if err != nil {
		return fmt.Errorf("ask the cloud for its counters: %w", err)
	}
	var s ddsfake.Stats
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("read the cloud's counters: %w", err)
	}
	fmt.Fprintf(out, "\nThe cloud counted: creates received %d, instances made %d, logins %d\n", s.CreatesReceived, s.CreatesExecuted, s.Logins)
	if s.CreatesReceived != wanted || s.Logins != 1 {
		return fmt.Errorf("the cloud was called to create %d times with %d logins, want %d and 1", s.CreatesReceived, s.Logins, wanted)
	}
	return nil
}
