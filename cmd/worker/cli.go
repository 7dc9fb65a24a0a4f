package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"ddsworker/internal/app"
)

const description = `Takes requests for managed MongoDB instances from NATS JetStream, creates each of them once at the cloud, keeps their history in Postgres and follows them until they are ready.

Every setting has a flag and a variable. With SIGTERM it stops taking, finishes what is in flight and exits 0.`

// cli is the command line.
type cli struct {
	app.Config `embed:""`

	Run     runCommand     `cmd:"" default:"1" help:"Work until SIGTERM (the default)."`
	Cancel  cancelCommand  `cmd:"" help:"Cancel requests that are not ready: what they made is deleted."`
	Retry   retryCommand   `cmd:"" help:"Try requests again that have failed."`
	Prune   pruneCommand   `cmd:"" help:"Forget requests that ended long ago, with all their rows, in small batches while workers work. Their ids, marks and instance ids are kept. Needs DATABASE_URL alone, and a user with the role ddsworker_pruner."`
	Migrate migrateCommand `cmd:"" help:"Migrate the database, make the streams, and exit."`
	Recover recoverCommand `cmd:"" help:"Say that this database is the rightful one although it was restored, lost something in a failover, or lives elsewhere now: take over what the events tell, look for everything else that has not ended before it is called for, and exit. Workers that wait go on by themselves."`
	Adopt   adoptCommand   `cmd:"" help:"Give a copy of a database an identity of its own, beside the original: what the original has under way fails here as COPIED, and nothing that it made is touched. Wants a NATS of its own. Exits."`
	Keygen  keygenCommand  `cmd:"" help:"Make the identity that opens passwords, print the recipient that they are sealed for, and exit. It is never overwritten."`
	Health  healthCommand  `cmd:"" help:"Ask the worker at ADMIN_ADDR how it is; exits 0 if it is ready."`
	Version versionCommand `cmd:"" help:"Print the version and exit."`
}

// settingsError says that the settings are wrong, all of them at once.
type settingsError struct{ error }

// newParser gives ctx to the commands, so that they end with it.
func newParser(ctx context.Context, c *cli) (*kong.Kong, error) {
	return kong.New(c, kong.Name("worker"), kong.Description(description), kong.Vars(app.Vars()),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.BindTo(ctx, (*context.Context)(nil)))
}

func (c *cli) app() (*app.App, error) {
	if err := c.Load(); err != nil {
		return nil, settingsError{err}
	}
	log := app.NewLog(os.Stderr, c.Process.LogLevel, c.Process.LogFormat)
	return &app.App{Config: c.Config, Version: app.Version(), Log: log,
		Listening: func(addr string) { log.Info("serving /livez, /readyz and /metrics", "addr", addr) }}, nil
}

type runCommand struct{}

func (runCommand) Run(ctx context.Context, c *cli) error {
	a, err := c.app()
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

type migrateCommand struct {
	ReplaceRecipient bool `help:"Have passwords sealed for this identity although the streams name another one, because that is lost or somebody changed the stream: what was sealed for it cannot be opened any more."`
}

func (m migrateCommand) Run(ctx context.Context, c *cli) error {
	a, err := c.app()
	if err != nil {
		return err
	}
	return a.Migrate(ctx, m.ReplaceRecipient)
}

type recoverCommand struct{}

func (recoverCommand) Run(ctx context.Context, c *cli) error {
	a, err := c.app()
	if err != nil {
		return err
	}
	r, err := a.Recover(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("installation %s, epoch %d\n", r.Installation, r.Epoch)
	fmt.Printf("%8d requests are looked for before their next call\n", r.LookFirst)
	fmt.Printf("%8d requests got the instance that only the events knew\n", r.Adopted)
	fmt.Printf("%8d requests that had failed or were cancelled have an instance, as only the events knew: retry what had failed to have it followed\n", r.Kept)
	fmt.Printf("%8d requests were cancelled, as only the events knew\n", r.Cancelled)
	fmt.Printf("%8d requests are being cancelled, as only the events knew\n", r.Cancelling)
	fmt.Printf("%8d requests were retried, as only the events knew: retry them again to have what that made looked for\n", r.Retried)
	fmt.Printf("%8d instances being built are looked at again\n", r.Building)
	if !r.Since.IsZero() {
		fmt.Printf("nobody can tell all that happened since %s: DDS_EVENTS has nothing of what the database knows\n", r.Since.UTC().Format(time.DateTime))
	}
	fmt.Printf("%8d requests are lost: they are younger than the backup (rejections with code LOST)\n", len(r.Lost))
	for _, lost := range r.Lost {
		fmt.Printf("         %s, which was %s %s\n", lost.RequestID, lost.State, lost.InstanceID)
	}
	return nil
}

type adoptCommand struct {
	AsNew bool `required:"" help:"Say that it is a copy, which is to live beside the original."`
}

func (adoptCommand) Run(ctx context.Context, c *cli) error {
	a, err := c.app()
	if err != nil {
		return err
	}
	id, ended, err := a.AdoptAsNew(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("installation %s, epoch %d\n%8d requests were under way at the original and failed here as COPIED\n", id.Installation, id.Epoch, ended)
	return nil
}

type keygenCommand struct {
	IfAbsent bool `help:"Exit 0 if there is one already, and print its recipient."`
}

func (k keygenCommand) Run(c *cli) error {
	recipient, err := (&app.App{Config: c.Config}).Keygen()
	switch {
	case errors.Is(err, os.ErrExist) && !k.IfAbsent:
		return fmt.Errorf("%w; it is never overwritten, and --if-absent prints its recipient", err)
	case err != nil && !errors.Is(err, os.ErrExist):
		return err
	}
	fmt.Printf("identity file  %s\nrecipient      %s\n", c.Process.IdentityFile, recipient)
	return nil
}

type healthCommand struct{}

func (healthCommand) Run(ctx context.Context, c *cli) error {
	host, port, err := net.SplitHostPort(c.Process.AdminAddr)
	if err != nil {
		return fmt.Errorf("ADMIN_ADDR: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	fmt.Print(string(body))
	if answer.StatusCode != http.StatusOK {
		return errors.Join(errors.New("not ready"), err)
	}
	return err
}

type versionCommand struct{}

func (versionCommand) Run() error {
	fmt.Println(app.Version())
	return nil
}
