package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"

	"ddsworker/internal/app"
	"ddsworker/internal/provision"
)

// cancelCommand and retryCommand need the database alone.
type cancelCommand struct {
	IDs []string `arg:"" name:"id" help:"Ids of requests."`
	By  string   `help:"Who asks for it, as the history shows it; default: the user." placeholder:"NAME"`
}

func (r cancelCommand) Run(ctx context.Context, c *cli) error {
	a, err := c.database()
	if err != nil {
		return err
	}
	return a.Cancel(ctx, r.IDs, asker(r.By), told)
}

type retryCommand struct {
	IDs          []string `arg:"" name:"id" help:"Ids of requests that have failed."`
	PasswordFile string   `help:"File with the new password, - for standard input: the old one was erased. It must not lie in an argument, which others can read." placeholder:"FILE"`
	By           string   `help:"Who asks for it, as the history shows it; default: the user." placeholder:"NAME"`
}

func (r retryCommand) Run(ctx context.Context, c *cli) error {
	a, err := c.database()
	if err != nil {
		return err
	}
	password, err := r.password(os.Stdin)
	if err != nil {
		return err
	}
	return a.Retry(ctx, r.IDs, password, asker(r.By), told)
}

// maxPassword is more than any rule allows, in bytes.
const maxPassword = 4096

// password reads the file up to the end of its last line.
func (r retryCommand) password(stdin io.Reader) (provision.Secret, error) {
	if r.PasswordFile == "" {
		return provision.Secret{}, nil
	}
	from := stdin
	if r.PasswordFile != "-" {
		f, err := os.Open(r.PasswordFile)
		if err != nil {
			return provision.Secret{}, fmt.Errorf("--password-file: %w", err)
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxPassword))
	if err != nil {
		return provision.Secret{}, fmt.Errorf("--password-file: %w", err)
	}
	if text = bytes.TrimRight(text, "\r\n"); len(text) == 0 {
		return provision.Secret{}, errors.New("--password-file: there is nothing in it")
	}
	return provision.NewSecret(string(text)), nil
}

// database is the app for a command that needs no more than that.
func (c *cli) database() (*app.App, error) {
	if err := c.LoadDatabase(); err != nil {
		return nil, settingsError{err}
	}
	return &app.App{Config: c.Config}, nil
}

func asker(name string) string {
	if name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "somebody"
}

func told(id, what string) { fmt.Println(id, what) }
