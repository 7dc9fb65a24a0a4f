package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/alecthomas/kong"

	"ddsworker/internal/app"
	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
	"ddsworker/internal/seal"
)

const (
	// readyLimit bounds the start of the worker.
	readyLimit = 30 * time.Second
	// callLimit bounds a call to a part of our own.
	callLimit = 5 * time.Second
)

// worker is a worker that runs in this process.
type worker struct {
	url   string        // of its admin server
	ended chan struct{} // closed when it has stopped
	err   error         // why, once it has
}

// startWorker returns when the worker is ready to work.
func (s *system) startWorker(ctx context.Context, o options) error {
	config, err := s.workerConfig(o)
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	admin := make(chan string, 1)
	a := &app.App{Config: config, Version: app.Version(), Log: app.NewLog(s.log, o.logLevel, "text"),
		Listening: func(addr string) { admin <- addr }}
	w := &worker{ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.err = a.Run(running)
	}()
	s.worker = w
	s.onStop("the worker", func() error {
		cancel()
		<-w.ended
		return w.err
	})
	ctx, stop := context.WithTimeout(ctx, readyLimit)
	defer stop()
	select {
	case addr := <-admin:
		w.url = "http://" + addr
		return w.ready(ctx)
	case <-w.ended:
		return errors.New("the worker did not start")
	case <-ctx.Done():
		return fmt.Errorf("the worker does not listen: %w", ctx.Err())
	}
}

// ready waits until the worker says that it is.
func (w *worker) ready(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := get(ctx, w.url+"/readyz")
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-w.ended:
			return errors.New("the worker did not get ready")
		case <-ctx.Done():
			return fmt.Errorf("the worker is not ready: %w; it says: %s", err, answer)
		}
	}
}

// workerConfig is what a worker has by default, pointed at this system. The
// environment is left out: a shell may have a real cloud's settings in it.
func (s *system) workerConfig(o options) (app.Config, error) {
	var c app.Config
	parser, err := kong.New(&c, kong.Vars(app.Vars()), kong.PostBuild(ignoreEnvironment))
	if err != nil {
		return c, err
	}
	identity := filepath.Join(s.dir, "identity.txt")
	if err := seal.Generate(identity); err != nil {
		return c, err
	}
	_, err = parser.Parse([]string{
		"--nats-url=" + s.nats.ClientURL(), "--database-url=" + s.postgres.URL(),
		"--dds-endpoint=" + s.cloudURL, "--os-auth-url=" + s.cloudURL + "/v3",
		"--os-username=" + ddsfake.DefaultUser, "--os-domain-name=" + ddsfake.DefaultDomain,
		"--os-project-id=" + ddsfake.DefaultProjectID, "--os-region-name=" + ddsfake.DefaultProjectName,
		"--poll-interval=500ms", "--admin-addr=" + loopback(o.adminPort),
		"--worker-name=dev", "--secrets-identity-file=" + identity,
	})
	c.Cloud.Password = provision.NewSecret(ddsfake.DefaultPassword)
	return c, err
}

func ignoreEnvironment(k *kong.Kong) error {
	for _, flag := range k.Model.Flags {
		flag.Envs, flag.Tag.Envs = nil, nil
	}
	return nil
}

// get reads what one of our own parts answers; anything but 200 is an error
// beside the answer.
func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Close = true // no connection is left behind
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return body, err
}
