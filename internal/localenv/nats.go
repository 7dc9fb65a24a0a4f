package localenv

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// NATS is a temporary NATS server with JetStream inside this process.
type NATS struct {
	server  *server.Server
	dir     string
	release func() error // of the guard

	stop    sync.Once
	stopErr error
}

// StartNATS starts a NATS server on 127.0.0.1 whose JetStream keeps encrypted
// files in a temporary directory, with a key that only this process knows.
// Unless opts.Fast, an acknowledged message is on the disk.
func StartNATS(opts Options) (*NATS, error) {
	port := server.RANDOM_PORT // Picked by the server itself, so nobody can take it in between.
	if opts.Port != 0 {
		var err error
		if port, err = claimPort(opts.Port); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "localenv-nats-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for NATS: %w", err)
	}
	release, err := Guard(`rm -rf "$1"`, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port,
		JetStream: true, StoreDir: dir, JetStreamKey: rand.Text(), JetStreamCipher: server.AES, SyncAlways: !opts.Fast,
		NoLog: true, NoSigs: true,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("configure NATS: %w", err), release(), os.RemoveAll(dir))
	}
	n := &NATS{server: s, dir: dir, release: release}
	s.Start()
	if !s.ReadyForConnections(10*time.Second) || !s.JetStreamEnabled() {
		return nil, errors.Join(fmt.Errorf("start NATS: it does not listen on port %d with JetStream in %s", port, dir), n.Stop())
	}
	return n, nil
}

// ClientURL is the address clients connect to.
func (n *NATS) ClientURL() string { return n.server.ClientURL() }

// Stop breaks the open connections off, waits until the server is gone and
// removes its directory. It may be called more than once.
func (n *NATS) Stop() error {
	n.stop.Do(func() {
		n.server.Shutdown()
		n.server.WaitForShutdown()
		n.stopErr = errors.Join(n.release(), os.RemoveAll(n.dir))
	})
	return n.stopErr
}
