package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"ddsworker/internal/provision"
)

// adminServer answers /livez, /readyz and /metrics.
type adminServer struct {
	ready  atomic.Bool
	health *provision.Health
	mux    *http.ServeMux
	server *http.Server
	done   chan struct{}
}

// serveAdmin starts the admin server, unless there is to be none.
func (a *App) serveAdmin(health *provision.Health, m *metrics) (*adminServer, error) {
	s := &adminServer{health: health, mux: http.NewServeMux(), done: make(chan struct{})}
	s.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	s.mux.HandleFunc("GET /readyz", s.readyz)
	s.mux.Handle("GET /metrics", m.handler())
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	if a.Config.Process.AdminAddr == "" {
		close(s.done)
		return s, nil
	}
	l, err := net.Listen("tcp", a.Config.Process.AdminAddr)
	if err != nil {
		return nil, fmt.Errorf("ADMIN_ADDR: %w; give another address, or an empty one to serve none", err)
	}
	if a.Listening != nil {
		a.Listening(l.Addr().String())
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(l); err != http.ErrServerClosed {
			health.Report("admin server", err)
		}
	}()
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *adminServer) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// readyz is 200 when everything works and else 503, with what is wrong since
// when.
func (s *adminServer) readyz(w http.ResponseWriter, _ *http.Request) {
	answer := struct {
		Ready    bool                `json:"ready"`
		Problems []provision.Problem `json:"problems"`
	}{Problems: s.health.Problems()}
	answer.Ready = s.ready.Load() && len(answer.Problems) == 0
	w.Header().Set("Content-Type", "application/json")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *adminServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close()
	}
	<-s.done
}
