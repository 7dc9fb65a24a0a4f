package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ddsworker/internal/queue"
)

type createCommand struct {
	Files []string `arg:"" optional:"" name:"FILE" help:"More files, as in -f *.json."`
	File  []string `short:"f" sep:"none" placeholder:"FILE" help:"File with requests; - is standard input. May be repeated."`

	ID                  []string `name:"id" sep:"none" placeholder:"ID" help:"Id of the request; give it once for each request, in their order. Without it each gets a new UUIDv7. The same id with the same body is the same request, so repeating is safe."`
	PasswordFile        string   `env:"DDS_PASSWORD_FILE" placeholder:"FILE" help:"File with the password for bodies that have none. Or put the password itself into the variable DDS_PASSWORD; the file goes before it."`
	Recipient           string   `env:"DDS_RECIPIENT" placeholder:"AGE1…" help:"Recipient of age that passwords are sealed for, as 'worker keygen' prints it; without it the one that the stream of requests publishes."`
	Project             string   `env:"DDS_PROJECT_ID" placeholder:"ID" help:"Cloud project of the instances; without it the workers' own."`
	RequestedBy         string   `env:"DDS_REQUESTED_BY" placeholder:"WHO" help:"Who asks, for the records; default: user@host."`
	Traceparent         string   `env:"TRACEPARENT" placeholder:"CONTEXT" help:"W3C trace context that the request belongs to."`
	Dialect             string   `env:"DDS_DIALECT" placeholder:"NAME" help:"Edition of the cloud's API whose rules hold: huawei, otc, flexibleengine or huawei-2020; without it what any of them accepts."`
	AcceptUnknownFields bool     `env:"ACCEPT_UNKNOWN_FIELDS" help:"Let fields pass that the rules do not know."`

	DryRun bool `help:"Check only, publish nothing."`
	Wait   bool `short:"w" env:"ENQUEUE_WAIT" help:"Wait until every request has ended."`

	outputFlags
	queue.Server
}

// Help is shown by enqueue create --help.
func (createCommand) Help() string {
	return `A request is the body of the cloud's create call. A file may hold one or many: as JSON (comments and trailing commas are allowed; one after the other, line by line, or in a list) or as YAML (in documents divided by ---, or in a list). All are checked before the first is published.

Passwords are sealed before they are published, for the workers alone to open. A body that was sealed elsewhere has sealed_password, an armored file of age, in place of password, and goes as it is.

Examples:

    enqueue create -f cluster.json --wait
    enqueue create -f *.yaml --dry-run
    DDS_PASSWORD=... enqueue create -f replica-set.yaml -o json
    jq -c '.clusters[]' all.json | enqueue create -f -
    enqueue create -f cluster.json --id order-4711    (safe to repeat)

Standard output has one line for each stored request, so that this works:

    enqueue wait $(enqueue create -f cluster.json)`
}

// Run checks, publishes and, if asked to, waits.
func (c *createCommand) Run(ctx context.Context, p *program) error {
	preparation, requests, err := c.prepare(p)
	if err != nil {
		return err
	}
	out := &output{json: c.Output == "json", stdout: p.stdout}
	if c.DryRun {
		return dryRun(p, out, requests)
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	screen := &screen{out: p.stderr}
	conn, err := connect(ctx, c.Server, screen)
	if err != nil {
		return connectError(ctx, err, "nothing was published")
	}
	defer conn.Close() // every receipt is here already

	if err := preparation.seal(ctx, conn.JetStream(), screen, requests); err != nil {
		return err
	}
	receipts := publishAll(ctx, queue.NewPublisher(conn.JetStream(), 0), requests, func(r request, receipt receipt) {
		out.published(r, receipt, c.Wait)
		if receipt.err == nil {
			fmt.Fprintf(screen, "stored %s as request %s\n", r.name, r.ID)
		}
	})
	if err := explainFailures(ctx, requests, receipts); err != nil {
		out.unwaited(requests, receipts, c.Wait)
		return err
	}
	if !c.Wait {
		return out.err
	}
	w := &waiter{js: conn.JetStream(), screen: screen, out: out, timeout: c.Timeout, silence: silence}
	var all []tracked
	for i, r := range requests {
		all = append(all, tracked{id: r.ID, name: r.name, sequence: receipts[i].sequence, reused: len(c.ID) > 0})
	}
	return w.wait(ctx, all)
}

// prepare reads and checks all requests there are.
func (c *createCommand) prepare(p *program) (*preparation, []request, error) {
	files := slices.Concat(c.File, c.Files)
	if len(files) == 0 {
		return nil, nil, exit(exitInput, "no file: name one with -f FILE, or - for standard input; see: enqueue create --help")
	}
	if c.Wait && c.Timeout <= 0 {
		return nil, nil, exit(exitInput, "--timeout %v: it must be longer than nothing", c.Timeout)
	}
	preparation, err := c.preparation(p)
	documents, readErr := readFiles(p.stdin, files)
	if err := errors.Join(err, readErr); err != nil {
		return nil, nil, exit(exitInput, "%v", err)
	}
	requests, err := preparation.prepare(documents)
	if err != nil {
		return nil, nil, exit(exitInput, "%v\nnothing was published", err)
	}
	return preparation, requests, nil
}

func dryRun(p *program, out *output, requests []request) error {
	for _, r := range requests {
		fmt.Fprintf(p.stderr, "%v: %s keeps all rules\n", r.document, r.name)
		out.checked(r)
	}
	return out.err
}

func connectError(ctx context.Context, err error, consequence string) error {
	if ctx.Err() != nil {
		return exit(exitInterrupted, "interrupted; %s", consequence)
	}
	return exit(exitNATS, "%v; %s", err, consequence)
}

// explainFailures says what is stored and what is not, if anything is not.
func explainFailures(ctx context.Context, requests []request, receipts []receipt) error {
	var failures, stored, ids []string
	for i, r := range requests {
		ids = append(ids, "--id "+shellWord(r.ID))
		if receipts[i].err != nil {
			failures = append(failures, fmt.Sprintf("\n  %s (%s): %v", r.ID, r.name, receipts[i].err))
		} else {
			stored = append(stored, fmt.Sprintf("\n  %s (%s)", r.ID, r.name))
		}
	}
	if len(failures) == 0 {
		return nil
	}
	code, cause := exitNATS, ""
	if ctx.Err() != nil {
		code, cause = exitInterrupted, "interrupted; "
	}
	text := cause + fmt.Sprintf("%d of %d requests have no receipt:%s", len(failures), len(requests), strings.Join(failures, ""))
	if len(stored) > 0 {
		text += "\nthese are stored and go on:" + strings.Join(stored, "")
	}
	return exit(code, "%s\nrepeat the same call with the same ids, which is safe, also for those that are stored:\n  %s", text, strings.Join(ids, " "))
}

// shellWord quotes an id for a shell where that is needed.
func shellWord(id string) string {
	plain := !strings.ContainsFunc(id, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@+", r)
	})
	if plain {
		return id
	}
	return "'" + strings.ReplaceAll(id, "'", `'\''`) + "'"
}
