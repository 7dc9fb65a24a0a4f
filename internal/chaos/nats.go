package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsVar makes this program a NATS server: its value is a natsConfig.
const natsVar = "CHAOS_SERVE_NATS"

type natsConfig struct {
	Port int
	Dir  string
	Key  string
}

// ServeIfAsked makes this program the NATS server of a run that started it, and
// does not return then. Every program that runs chaos calls it first.
func ServeIfAsked() {
	text, asked := os.LookupEnv(natsVar)
	if !asked {
		return
	}
	if err := serveNATS(text); err != nil {
		fmt.Fprintln(os.Stderr, "nats:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveNATS serves until SIGTERM, with files and a sync of every message, as the
// configuration in deploy/ does it.
func serveNATS(text string) error {
	var cfg natsConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: cfg.Port, JetStream: true, StoreDir: cfg.Dir,
		JetStreamKey: cfg.Key, JetStreamMaxStore: 4 << 30, SyncAlways: true, NoSigs: true})
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(natsStart) {
		return errors.New("it does not listen")
	}
	<-ended
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

const natsStart = 20 * time.Second

// natsServer is a NATS server in a process of its own, on a store that outlives it.
type natsServer struct {
	cfg natsConfig
	log string
	// small: it has a disk of its own, which can be filled.
	small bool
	*process
}

// natsDisk is the size of the disk that NATS has to itself where it can have one.
const natsDisk = 64 << 20

func startNATS(dir, key string) (*natsServer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	n := &natsServer{cfg: natsConfig{Port: port, Dir: filepath.Join(dir, "jetstream"), Key: key}, log: filepath.Join(dir, "nats.log")}
	return n, errors.Join(os.MkdirAll(n.cfg.Dir, 0o700), n.start())
}

// startNATSOnDisk gives the server a small disk of its own first.
func startNATSOnDisk(dir, key string) (n *natsServer, release func() error, err error) {
	store := filepath.Join(dir, "jetstream")
	if err := os.MkdirAll(store, 0o700); err != nil {
		return nil, nil, err
	}
	if release, err = smallDisk(store, natsDisk); err != nil {
		return nil, nil, err
	}
	if n, err = startNATS(dir, key); err != nil {
		return nil, nil, errors.Join(err, n.kill(), release())
	}
	n.small = true
	return n, release, nil
}

// fillDisk leaves no room on the server's disk; the function returned makes room.
func (n *natsServer) fillDisk() (makeRoom func() error, err error) {
	if !n.small {
		return nil, errors.New("NATS has no disk of its own")
	}
	ballast := filepath.Join(n.cfg.Dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	chunk := make([]byte, 4<<10)
	for err == nil {
		_, err = f.Write(chunk)
	}
	return func() error { return os.Remove(ballast) }, nil
}

func (n *natsServer) address() string { return fmt.Sprintf("127.0.0.1:%d", n.cfg.Port) }

// start starts the server and returns once it listens. A port that somebody took
// meanwhile is waited for.
func (n *natsServer) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := json.Marshal(n.cfg)
	if err != nil {
		return err
	}
	late := time.Now().Add(2 * natsStart)
	for time.Now().Before(late) {
		if n.process, err = startProcess(n.log, append(os.Environ(), natsVar+"="+string(text)), self); err != nil {
			return err
		}
		for n.alive() && time.Now().Before(late) {
			if conn, err := net.DialTimeout("tcp", n.address(), time.Second); err == nil {
				return conn.Close()
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err := n.kill(); err != nil {
			return err
		}
	}
	return fmt.Errorf("NATS does not listen on %s, see %s", n.address(), n.log)
}

// freePort returns a port that nobody listens on now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
