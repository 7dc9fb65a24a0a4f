package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// health is the command that asks a running fakecloud whether it is well.
type health struct {
	Addr    string        `default:"127.0.0.1:8480" help:"Address that the cloud listens on."`
	Timeout time.Duration `default:"3s" help:"How long to wait for the answer."`
}

// Run returns nil if the cloud is well.
func (h *health) Run(ctx context.Context, io streams) error {
	host, port, err := net.SplitHostPort(h.Addr)
	if err != nil {
		return fmt.Errorf("--addr %q is not HOST:PORT: %w", h.Addr, err)
	}
	if host == "" || net.ParseIP(host).IsUnspecified() { // it listens everywhere; ask it here
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/__health", nil)
	if err != nil {
		return fmt.Errorf("--addr %q: %w", h.Addr, err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("no answer from %s, is fakecloud running there? %w", h.Addr, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s, so it is no healthy fakecloud", h.Addr, resp.Status)
	}
	_, err = fmt.Fprintln(io.out, "ok")
	return err
}
