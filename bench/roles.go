package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"time"

	"ddsworker/bench/peer"
	"ddsworker/examples"
	"ddsworker/internal/app"
	"ddsworker/internal/localenv"
)

// roles are what this program is when the lab starts it again, as a process whose
// time and memory are told apart. Each works until SIGTERM.
type roles struct {
	NATS   natsRole   `cmd:"" name:"nats"`
	Floor  floorRole  `cmd:""`
	Plain  plainRole  `cmd:""`
	River  riverRole  `cmd:""`
	Worker workerRole `cmd:""`
}

type natsRole struct{ Port int }

// Run serves NATS.
func (r *natsRole) Run(ctx context.Context) error {
	n, err := localenv.StartNATS(localenv.Options{Port: r.Port})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return n.Stop()
}

type cloudFlags struct {
	Cloud, Project string
}

type floorRole struct {
	cloudFlags
	Requests, Concurrency int
}

// Run makes all create calls.
func (r *floorRole) Run(ctx context.Context) error {
	body, err := exampleBody()
	if err != nil {
		return err
	}
	return peer.Floor{CloudURL: r.Cloud, Project: r.Project, Example: body, Requests: r.Requests, Concurrency: r.Concurrency}.Run(ctx)
}

type plainRole struct {
	cloudFlags
	NATS                     string `name:"nats"`
	Goroutines, Calls, Conns int
	First, Every             time.Duration
}

// Run is the plain worker.
func (r *plainRole) Run(ctx context.Context) error {
	p := peer.Plain{CloudURL: r.Cloud, Project: r.Project, NATSURL: r.NATS, DatabaseURL: os.Getenv("DATABASE_URL"),
		Goroutines: r.Goroutines, Calls: r.Calls, Conns: r.Conns, First: r.First, Every: r.Every}
	return p.Run(ctx)
}

type riverRole struct {
	cloudFlags
	Workers, Conns      int
	Fetch, First, Every time.Duration
}

// Run is the worker on River.
func (r *riverRole) Run(ctx context.Context) error {
	return peer.River{CloudURL: r.Cloud, Project: r.Project, DatabaseURL: os.Getenv("DATABASE_URL"),
		Workers: r.Workers, Conns: r.Conns, Fetch: r.Fetch, First: r.First, Every: r.Every}.Run(ctx)
}

// workerRole is our worker, with a server for its profiles.
type workerRole struct {
	Config  app.Config `embed:""`
	Profile string     `help:"Address of the server for profiles."`
}

// Run works until SIGTERM.
func (r *workerRole) Run(ctx context.Context) error {
	if err := r.Config.Load(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", r.Profile)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/profile", pprof.Profile)
	mux.Handle("/allocs", pprof.Handler("allocs"))
	server := &http.Server{Handler: mux}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	a := app.App{Config: r.Config, Version: "bench", Log: app.NewLog(os.Stderr, r.Config.Process.LogLevel, "text")}
	err = a.Run(ctx)
	err = errors.Join(err, server.Close())
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// exampleBody is the body of a single node, which everybody's requests have.
func exampleBody() ([]byte, error) { return example("single-node.json") }

func example(name string) ([]byte, error) {
	body, err := examples.Documented.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the example: %w", err)
	}
	return body, nil
}
