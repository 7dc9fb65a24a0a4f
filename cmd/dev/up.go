package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"text/template"
)

// up is the command that keeps a system running.
type up struct {
	NATSPort     *int   `name:"nats-port" help:"Port of NATS; if it is not given 4222, or a free one."`
	PostgresPort *int   `help:"Port of Postgres; if it is not given 5432, or a free one."`
	CloudPort    *int   `help:"Port of the simulated cloud; if it is not given 8081, or a free one."`
	AdminPort    *int   `help:"Port of the worker's health and metrics; if it is not given 8080, or a free one."`
	LogLevel     string `default:"info" enum:"debug,info,warn,error" help:"What the worker logs: ${enum}."`
	Dialect      string `default:"union" help:"Which edition of the API the cloud speaks: one of ${dialects}."`
	cloudFlags   `embed:""`
}

// Run returns nil when it was told to stop and everything has stopped.
func (u *up) Run(ctx context.Context, std streams) (err error) {
	cloud, err := u.config(u.Dialect)
	if err != nil {
		return err
	}
	s, err := start(ctx, options{natsPort: choose(u.NATSPort, 4222), postgresPort: choose(u.PostgresPort, 5432),
		cloudPort: choose(u.CloudPort, 8081), adminPort: choose(u.AdminPort, 8080),
		cloud: cloud, logLevel: u.LogLevel, log: std.err})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.showSettings(std.out); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.worker.ended:
		return errors.New("the worker ended by itself")
	}
}

// choose returns the port that was asked for, or else the usual one if it is
// free, or else 0 for any.
func choose(asked *int, usual int) int {
	if asked != nil {
		return *asked
	}
	l, err := net.Listen("tcp", loopback(usual))
	if err != nil || l.Close() != nil {
		return 0
	}
	return usual
}

// The password stays out of sight, in a file as psql and our programs read it.
var settings = template.Must(template.New("").Parse(`
It is up. In another shell:

  export NATS_URL={{.NATS}}
  export DATABASE_URL='{{.Database}}' PGPASSFILE='{{.PassFile}}'

  go run ./cmd/enqueue create -f examples/cluster.json --wait
  nats req dds.requests "$(cat examples/single-node.json)"
  psql "$DATABASE_URL" -c 'select * from provisioning_history'
  curl {{.Worker}}/readyz      # and /metrics
  curl {{.Cloud}}/__stats     # and /__instances

Ctrl-C stops it and removes everything.
`))

func (s *system) showSettings(out io.Writer) error {
	database, err := url.Parse(s.postgres.URL())
	if err != nil {
		return err
	}
	user := database.User.Username()
	password, _ := database.User.Password()
	passFile := filepath.Join(s.dir, "pgpass")
	line := fmt.Sprintf("%s:%s:*:%s:%s\n", database.Hostname(), database.Port(), user, password)
	if err := os.WriteFile(passFile, []byte(line), 0o600); err != nil {
		return err
	}
	database.User = url.User(user)
	return settings.Execute(out, map[string]string{"NATS": s.nats.ClientURL(), "Database": database.String(),
		"PassFile": passFile, "Worker": s.worker.url, "Cloud": s.cloudURL})
}
