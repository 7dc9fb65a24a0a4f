package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"ddsworker/internal/dds/ddsfake"
)

const (
	// maxHeaderBytes leaves room for the largest token that the gateway takes, and for its refusal of a larger one.
	maxHeaderBytes = 256 << 10
	// stopGrace is how long running calls may take to end when we are told to stop.
	stopGrace = 5 * time.Second
)

// serve is the command that runs the cloud.
type serve struct {
	Addr     string     `default:"127.0.0.1:8480" help:"Address to listen on."`
	LogLevel slog.Level `default:"info" help:"debug, info, warn or error; debug shows every call."`
	Cloud    cloudFlags `embed:""`
}

// Run serves until the context ends.
func (s *serve) Run(ctx context.Context, io streams) error {
	cfg, err := s.Cloud.config()
	if err != nil {
		return err
	}
	cfg.Logger = slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: s.LogLevel}))
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("cannot listen on %s, choose another --addr: %w", s.Addr, err)
	}
	return serveOn(ctx, listener, cfg)
}

// serveOn serves the cloud on a listener until ctx ends, then lets running calls end and cuts off those that hang.
func serveOn(ctx context.Context, listener net.Listener, cfg ddsfake.Config) error {
	calls, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	server := &http.Server{
		Handler:           ddsfake.New(cfg),
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return calls },
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
	}
	cfg.Logger.Info("serving", "addr", listener.Addr().String(), "dialect", cfg.Dialect, "speed", cfg.Speed)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	cfg.Logger.Info("stopping")
	cutter := time.AfterFunc(stopGrace/2, cutOff)
	defer cutter.Stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	err := server.Shutdown(grace)
	if err != nil {
		err = errors.Join(fmt.Errorf("some calls did not end in %v: %w", stopGrace, err), server.Close())
	}
	<-served // ErrServerClosed
	return err
}
