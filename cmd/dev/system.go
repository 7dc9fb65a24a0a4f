package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/localenv"
)

// system is one of everything, in this process tree.
type system struct {
	dir      string // what only this user may read
	postgres *localenv.Postgres
	nats     *localenv.NATS
	cloudURL string
	worker   *worker

	log   io.Writer
	stops []part
}

type part struct {
	name string
	stop func() error
}

// options say how a system is started. A port of 0 is any free one.
type options struct {
	natsPort, postgresPort, cloudPort, adminPort int

	cloud    ddsfake.Config
	logLevel string    // of the worker
	log      io.Writer // progress, and the worker's log
}

// start starts everything, and stops what it had started where one part fails.
func start(ctx context.Context, o options) (*system, error) {
	s := &system{log: o.log}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *system) start(ctx context.Context, o options) (err error) {
	if err := s.makeDir(); err != nil {
		return err
	}
	fmt.Fprintln(s.log, "starting Postgres, NATS, the simulated cloud and a worker")
	if s.postgres, err = localenv.StartPostgres(ctx, localenv.Options{Port: o.postgresPort, Log: s.log}); err != nil {
		return err
	}
	s.onStop("Postgres", s.postgres.Stop)
	if s.nats, err = localenv.StartNATS(localenv.Options{Port: o.natsPort, Log: s.log}); err != nil {
		return err
	}
	s.onStop("NATS", s.nats.Stop)
	if err := s.startCloud(ctx, o); err != nil {
		return err
	}
	return s.startWorker(ctx, o)
}

func (s *system) onStop(name string, stop func() error) {
	s.stops = append(s.stops, part{name, stop})
}

// stop ends everything in the reverse order of its start.
func (s *system) stop() error {
	var errs []error
	for _, p := range slices.Backward(s.stops) {
		if p.name != "" {
			fmt.Fprintln(s.log, "stopping", p.name)
		}
		errs = append(errs, p.stop())
	}
	s.stops = nil
	return errors.Join(errs...)
}

// makeDir makes the directory, which is removed even if this process is killed.
func (s *system) makeDir() error {
	dir, err := os.MkdirTemp("", "ddsworker-dev-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	release, err := localenv.Guard(`rm -rf "$1"`, dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	s.dir = dir
	s.onStop("", func() error { return errors.Join(release(), os.RemoveAll(dir)) })
	return nil
}

func (s *system) startCloud(ctx context.Context, o options) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", loopback(o.cloudPort))
	if err != nil {
		return fmt.Errorf("the simulated cloud cannot listen; name another port with --cloud-port: %w", err)
	}
	server := &http.Server{Handler: ddsfake.New(o.cloud), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(s.log, "the simulated cloud ended:", err)
		}
	}()
	s.cloudURL = "http://" + listener.Addr().String()
	s.onStop("the cloud", func() error {
		err := server.Close() // its only callers have stopped
		<-ended
		return err
	})
	return nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
