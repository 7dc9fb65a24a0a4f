package queue

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func TestShowURL(t *testing.T) {
	for url, want := range map[string]string{
		"nats://h:4222":                        "nats://h:4222",
		"h:4222":                               "nats://h:4222",
		"nats://h,nats://u:secret@i":           "nats://h,nats://i",
		"tls://user:secret@h:1, nats://tok@i":  "tls://h:1,nats://i",
		"nats://user:se%23cret@h:1/x?secret=1": "nats://h:1",
	} {
		if got, err := showURL(url); err != nil || got != want {
			t.Errorf("showURL(%q) = %q, %v; want %q", url, got, err, want)
		}
	}
	for _, url := range []string{"", "nats://", "nats://u:secret#1@h", "nats://u:12/secret@h:1", "nats://u:secret%zz@h", "nats://h,,",
		"nats://secret:12,x@h:1"} {
		got, err := showURL(url)
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "NATS_URL") {
			t.Errorf("showURL(%q) = %q, %v", url, got, err)
		}
	}
}

func TestConnectToNobody(t *testing.T) {
	const address = "127.0.0.1:1" // a free port may be a neighbour's server by now
	_, err := Connect(deadline(t), Config{Server: at("nats://me:secret@" + address), ConnectTimeout: 300 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), address) || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "NATS_URL") {
		t.Errorf("got %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Connect(ctx, Config{Server: at(address), ConnectTimeout: limit}); err == nil || t.Context().Err() != nil {
		t.Errorf("with a context that ended: %v", err)
	}
}

func TestConnectRefused(t *testing.T) {
	s := startWith(t, server.Options{Username: "me", Password: "right"})
	start := time.Now()
	_, err := Connect(deadline(t), Config{Server: at("nats://me:secret@" + s.Addr().String()), ConnectTimeout: limit})
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "Authorization") {
		t.Errorf("got %v", err)
	}
	if time.Since(start) > limit/2 {
		t.Error("wrong credentials were tried until the deadline")
	}
}

func TestConnectionLostAndFound(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, 0)
	health := newReports()
	var log bytes.Buffer
	conn, err := Connect(deadline(t), Config{
		Server: at("nats://secret@" + s.Addr().String()), Report: health.report,
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	port := s.Addr().(*net.TCPAddr).Port
	stopServer(s)
	if err := health.await(t); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("reported %v", err)
	}
	startServer(t, dir, port)
	if err := health.await(t); err != nil {
		t.Errorf("reported %v, want that it works again", err)
	}
	for range 2 {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if text := log.String(); strings.Contains(text, "secret") || strings.Count(text, "\n") < 3 {
		t.Errorf("log:\n%s", text)
	}
	if len(health.news) != 0 {
		t.Errorf("Close was reported as trouble: %v", <-health.news)
	}
}
