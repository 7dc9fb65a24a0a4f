// Package dds calls the cloud: the DDS service for instances and jobs, and IAM
// for tokens (dds-api.md §1 to §6, all dialects).
//
// It promises that one call of its methods is at most one call of the cloud,
// that redirects are never followed, that every error is a *provision.CloudError
// with exactly one class, and that the class not_sent is only given when nothing
// of the call can have run: what is in doubt is lost. No error, and nothing else
// that it returns but the token itself, holds a password or a token of its call.
package dds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"ddsworker/internal/provision"
	"ddsworker/internal/tokencache"
)

// op names a call as CloudError.Op shows it.
type op string

const (
	opLogin  op = "log in"
	opCreate op = "create instance"
	opDelete op = "delete instance"
	opList   op = "list instances"
	opJob    op = "read job"
	opJobs   op = "list jobs"
	opToken  op = "get a token"
)

// How often in a row the code of a refused token may come until it is about rights.
// Each process of a fleet may hold a stale token when the request comes to it; and
// then the gateway may not know the new one at once.
const (
	staleRefusals = 30
	youngRefusals = 5
)

// Largest answers that are read, in bytes. A page of 100 large clusters is a few
// megabytes; everything else is a few kilobytes.
const (
	maxAnswer = 1 << 20
	maxPage   = 8 << 20
)

// Tokens hands out the token of a project and is told which one was refused, and
// whether it is surely of no use. It tells whether that token was stale.
type Tokens interface {
	Token(ctx context.Context, projectID string) (tokencache.Token, error)
	Refused(t tokencache.Token, surely bool) (stale bool)
}

// language is that of the cloud's messages.
const language = "en-us"

// Config is what a Client needs.
type Config struct {
	Endpoint string // of DDS, like https://dds.{region}.myhuaweicloud.com; {region} is replaced
	Region   string
	Tokens   Tokens
	HTTP     HTTP
}

// Client calls DDS. Its methods may be called at the same time.
type Client struct {
	base   *url.URL
	tokens Tokens
	sender *sender
	hidden tokenSecrets

	reading sync.Mutex // a page of instances: see ListInstances
}

// It is what the domain asks for.
var (
	_ provision.InstanceCreator = (*Client)(nil)
	_ provision.InstanceDeleter = (*Client)(nil)
	_ provision.InstanceLister  = (*Client)(nil)
	_ provision.JobReader       = (*Client)(nil)
)

// New returns a client. It makes no call.
func New(cfg Config) (*Client, error) {
	base, err := parseEndpoint("DDS_ENDPOINT", cfg.Endpoint, cfg.Region, cfg.HTTP.AllowPlainHTTP)
	if err != nil {
		return nil, err
	}
	if cfg.Tokens == nil {
		return nil, errors.New("dds: Config.Tokens is not set")
	}
	return &Client{
		base: base, tokens: cfg.Tokens, sender: newSender(cfg.HTTP),
	}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.sender.close() }

// request is a call of DDS within a project.
type request struct {
	op       op
	method   string
	version  string // of the API: v3 or v3.1
	project  string
	resource []string // path behind the project
	query    url.Values
	body     []byte
	limit    int64 // of the answer
}

// do makes the call once and returns its 2xx answer. A token that was refused is
// reported, and the call left to the caller.
func (c *Client) do(ctx context.Context, r request) (answer, error) {
	path := append([]string{r.version, r.project}, r.resource...)
	for _, segment := range path {
		if !isSegment(segment) {
			return answer{}, &provision.CloudError{Op: string(r.op), Class: provision.ClassInvalid,
				Message: fmt.Sprintf("%.80q cannot stand in the address of a call; the call was not made", segment)}
		}
	}
	token, err := c.tokens.Token(ctx, r.project)
	if err != nil {
		return answer{}, noToken(r.op, err)
	}
	target := c.base.JoinPath(path...)
	target.RawQuery = r.query.Encode()
	a, err := c.sender.send(ctx, call{
		op: r.op, method: r.method, url: target.String(), body: r.body, limit: r.limit,
		header:  http.Header{"X-Auth-Token": {token.Reveal()}, "X-Language": {language}},
		secrets: c.hidden.with(token.Reveal(), stringIn(r.body, "password")),
	})
	if ce, ok := errors.AsType[*provision.CloudError](err); ok && ce.Class == provision.ClassAuth {
		// A code that means something else when it is repeated may have meant it now.
		stale := c.tokens.Refused(token, ce.Limit == 0)
		switch {
		case ce.Then == provision.ClassForbidden && stale:
			ce.Limit = staleRefusals
		case ce.Then == provision.ClassForbidden:
			ce.Limit = youngRefusals
		}
	}
	return a, err
}

// Ready returns once a call to the project would find its token at hand. Its errors are
// those of a call that did not leave because there is none.
func (c *Client) Ready(ctx context.Context, projectID string) error {
	if _, err := c.tokens.Token(ctx, projectID); err != nil {
		return noToken(opToken, err)
	}
	return nil
}

// isSegment tells whether s is one segment of a path and stays one: ids and
// versions are letters, digits, hyphens and dots.
func isSegment(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > 128 {
		return false
	}
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return true
}

// stringIn returns a string of a create body; empty if it has none of that name.
func stringIn(body []byte, name string) (s string) {
	w := walker{source: body}
	w.members(func(key []byte) {
		if value := w.value(); string(key) == name {
			_ = json.Unmarshal(value, &s) // as it is, if it is a string
		}
	})
	return s
}

// noToken is the error of a call that never left because there was no token. It
// keeps the code and words of IAM.
func noToken(o op, err error) *provision.CloudError {
	e := &provision.CloudError{Op: string(o), Class: provision.ClassNotSent, Err: err}
	if pause, ok := errors.AsType[*tokencache.NotYet](err); ok {
		e.RetryAfter = pause.Wait
	}
	if login, ok := errors.AsType[*provision.CloudError](err); ok {
		e.Code, e.RequestID, e.RetryAfter = login.Code, login.RequestID, max(e.RetryAfter, login.RetryAfter)
		e.Message = "no token, the login failed: " + login.Message
		return e
	}
	e.Message = secrets(nil).clean("no token: " + err.Error())
	return e
}

// pageQuery adds offset and limit, as both lists take them.
func pageQuery(q url.Values, offset, limit int) {
	if limit <= 0 || limit > 100 {
		limit = 100
	}
	q.Set("offset", strconv.Itoa(max(offset, 0)))
	q.Set("limit", strconv.Itoa(limit))
}
