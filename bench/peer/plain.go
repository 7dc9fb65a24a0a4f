package peer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// PlainStream is the stream that the plain worker consumes, and PlainSubject its
// subject.
const (
	PlainStream  = "PLAIN_REQUESTS"
	PlainSubject = "plain.requests"
)

// Plain is the worker that a good engineer writes in an afternoon: a goroutine
// for each message, row by row, with each job polled by itself.
type Plain struct {
	CloudURL, Project, NATSURL, DatabaseURL string
	// Goroutines is how many messages are handled at a time, and Calls how many
	// calls to the cloud; Conns are connections to Postgres.
	Goroutines, Calls, Conns int
	// First is how long after the create call a job is looked at first, and Every
	// how often after that.
	First, Every time.Duration

	cloud *Cloud
	db    *pgxpool.Pool
	calls chan struct{}
}

// Run works until ctx ends.
func (p *Plain) Run(ctx context.Context) (err error) {
	if p.cloud, err = NewCloud(ctx, p.CloudURL, p.Project, p.Calls); err != nil {
		return err
	}
	if p.db, err = openPool(ctx, p.DatabaseURL, p.Conns); err != nil {
		return err
	}
	defer p.db.Close()
	nc, err := nats.Connect(p.NATSURL)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	consumer, err := js.CreateOrUpdateConsumer(ctx, PlainStream, jetstream.ConsumerConfig{Durable: "plain",
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxAckPending: 2 * p.Goroutines})
	if err != nil {
		return err
	}
	p.calls = make(chan struct{}, p.Calls)
	return p.consume(ctx, consumer)
}

func (p *Plain) consume(ctx context.Context, consumer jetstream.Consumer) error {
	messages, err := consumer.Messages(jetstream.PullMaxMessages(max(100, p.Goroutines)))
	if err != nil {
		return err
	}
	defer messages.Stop()
	slots := make(chan struct{}, p.Goroutines)
	var handlers sync.WaitGroup
	defer handlers.Wait()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		handlers.Go(func() {
			defer func() { <-slots }()
			if err := p.handle(ctx, msg); err != nil && ctx.Err() == nil {
				slog.Error("a request went wrong", "error", err)
			}
		})
	}
}

// handle is the life of one request.
func (p *Plain) handle(ctx context.Context, msg jetstream.Msg) error {
	r, err := readRequest(msg.Headers().Get(nats.MsgIdHdr), p.Project, msg.Data())
	if err != nil {
		return err
	}
	about, err := msg.Metadata()
	if err != nil {
		return err
	}
	r.received, r.sequence = about.Timestamp, about.Sequence.Stream
	if err := begin(ctx, p.db, r); err != nil {
		return err
	}
	if err := msg.Ack(); err != nil {
		return err
	}
	began := time.Now()
	var c Created
	if err := p.call(func() (err error) { c, err = p.cloud.Create(ctx, tagged(r.body, r.mark)); return err }); err != nil {
		return err
	}
	if err := built(ctx, p.db, r, c, time.Since(began)); err != nil {
		return err
	}
	return p.follow(ctx, r.id, c)
}

// call waits for a turn to call the cloud.
func (p *Plain) call(f func() error) error {
	p.calls <- struct{}{}
	defer func() { <-p.calls }()
	return f()
}

// follow polls the job until it has ended, and records the instance.
func (p *Plain) follow(ctx context.Context, id string, c Created) error {
	var j Job
	for wait := p.First; j.Status != "Completed"; wait = p.Every {
		if err := pause(ctx, wait); err != nil {
			return err
		}
		if err := p.call(func() (err error) { j, err = p.cloud.Job(ctx, c.JobID); return err }); err != nil {
			return err
		}
		if j.Status == "Failed" {
			return fmt.Errorf("job %s failed", c.JobID)
		}
	}
	var i Instance
	if err := p.call(func() (err error) { i, err = p.cloud.Instance(ctx, c.InstanceID); return err }); err != nil {
		return err
	}
	return ready(ctx, p.db, id, c, j, i)
}
