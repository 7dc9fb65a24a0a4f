package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/bench/lab"
	"ddsworker/bench/peer"
)

// bench is a lab and what is done in it.
type bench struct {
	options
	lab    *lab.Lab
	nc     *nats.Conn
	js     jetstream.JetStream
	bodies [][]byte // of the requests, in turns
	sent   int      // requests, so far
	// profileAddr is where our worker serves its profiles, if it is profiled.
	profileAddr string
	job         time.Duration // of every instance; 0: they differ
	trials      int           // so far, for names
}

// quickJob is how long the jobs of a quick cloud take.
const quickJob = time.Second

// quick works in a lab whose cloud takes no time of its own for create calls, a
// second for each job, and shows everything at once.
func quick(ctx context.Context, o options, work func(*bench) error) error {
	job := quickJob.String()
	return in(ctx, o, []string{"--create-latency=0s", "--job-min=" + job, "--job-max=" + job, "--job-lag=0s", "--settle-lag=0s"}, func(b *bench) error {
		b.job = quickJob
		return work(b)
	})
}

// maxTrials is how many contestants a lab has room for: each has a project of its
// own, so that none meets another's instances.
const maxTrials = 40

func projectOf(trial int) string { return fmt.Sprintf("%032x", 0xbe4c0000+trial) }

func open(ctx context.Context, o options, cloud []string) (b *bench, err error) {
	body, err := exampleBody()
	if err != nil {
		return nil, err
	}
	b = &bench{options: o, bodies: [][]byte{body}}
	var projects []string
	for n := range maxTrials {
		projects = append(projects, projectOf(n))
	}
	say("building the programs, starting Postgres, NATS and the cloud")
	if b.lab, err = lab.Open(ctx, lab.Config{Projects: projects, Cloud: cloud, Statements: o.Profile, Logs: o.Logs, Log: os.Stderr}); err != nil {
		return nil, err
	}
	if b.profileAddr, err = lab.FreeAddr(); err != nil {
		return nil, errors.Join(err, b.close())
	}
	if b.nc, err = nats.Connect(b.lab.NATSURL); err == nil {
		b.js, err = jetstream.New(b.nc, jetstream.WithPublishAsyncMaxPending(1024), jetstream.WithPublishAsyncTimeout(time.Minute))
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bench) close() error {
	if b.nc != nil {
		b.nc.Close()
	}
	return b.lab.Close()
}

// in opens a lab, works in it and closes it.
func in(ctx context.Context, o options, cloud []string, work func(*bench) error) error {
	b, err := open(ctx, o, cloud)
	if err != nil {
		return err
	}
	return errors.Join(work(b), b.close())
}

// publish publishes requests from one number to another and returns when they
// are stored.
func (b *bench) publish(ctx context.Context, subject string, from, to int) error {
	var acks []jetstream.PubAckFuture
	for n := from; n <= to; n++ {
		ack, err := b.js.PublishMsgAsync(b.message(subject, peer.Name(n)), jetstream.WithStallWait(time.Minute))
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return fmt.Errorf("publish: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (b *bench) message(subject, name string) *nats.Msg {
	b.sent++
	return &nats.Msg{Subject: subject, Header: nats.Header{nats.MsgIdHdr: {name}}, Data: peer.Body(b.bodies[b.sent%len(b.bodies)], name)}
}

// dropStreams deletes streams, so that the next trial finds none.
func (b *bench) dropStreams(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := b.js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("delete stream %s: %w", name, err)
		}
	}
	return nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// poll asks every so often until the answer is yes, or what it waits for ends.
func poll(ctx context.Context, every time.Duration, ended []<-chan struct{}, ask func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if yes, err := ask(); err != nil || yes {
			return err
		}
		for _, gone := range ended {
			select {
			case <-gone:
				return errors.New("a process has ended before its work was done")
			default:
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the trial took too long: %w", context.Cause(ctx))
		}
	}
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return strings.TrimSpace(s)
}
