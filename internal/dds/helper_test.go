package dds

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"ddsworker/internal/provision"
	"ddsworker/internal/tokencache"
)

const (
	project       = "5a3b2c1d0e9f48a7b6c5d4e3f2a1b0c9"
	tokenCanary   = "MIIFvgYJKoZIhvcNAQcCoIIFrzCCBasCAQExDTALBglghkgBZQMEAgEw+/CANARY=="
	passCanary    = `Pa"s/s&<w>0rd\é=`
	createdAnswer = `{"id":"0123456789abcdef0123456789abcdefin02","job_id":"c010abd0-48cf-4fa8-8cbc-090f093eaa2f","status":"creating"}`
)

// createBody has the canary as its password.
var createBody = []byte(`{"name":"n","password":"Pa\"s/s&<w>0rd\\é="}`)

// tokens hands out one token and counts refusals.
type tokens struct {
	err     error
	mu      sync.Mutex
	refused int
	stale   bool
}

func (k *tokens) Token(context.Context, string) (tokencache.Token, error) {
	return tokencache.NewToken(tokenCanary, project, time.Hour), k.err
}

func (k *tokens) Refused(t tokencache.Token, _ bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t.Reveal() == tokenCanary {
		k.refused++
	}
	return k.stale
}

// client returns a client of the endpoint.
func client(t testing.TB, endpoint string, h HTTP) (*Client, *tokens) {
	t.Helper()
	k := &tokens{}
	c, err := New(Config{Endpoint: endpoint, Tokens: k, HTTP: h})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, k
}

// served returns a client of a server that answers with handler.
func served(t testing.TB, handler http.HandlerFunc) (*Client, *tokens) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return client(t, s.URL, HTTP{})
}

// eachWay runs a test over plain HTTP and over TLS, which writes by itself when a
// connection ends. reach returns a client of a server that answers with the handler.
func eachWay(t *testing.T, test func(t *testing.T, reach func(http.HandlerFunc, HTTP) *Client)) {
	for what, serve := range map[string]func(http.Handler) *httptest.Server{"http": httptest.NewServer, "https": httptest.NewTLSServer} {
		t.Run(what, func(t *testing.T) {
			test(t, func(handler http.HandlerFunc, h HTTP) *Client {
				s := serve(handler)
				t.Cleanup(s.Close)
				if s.Certificate() != nil {
					h.Roots = x509.NewCertPool()
					h.Roots.AddCert(s.Certificate())
				}
				c, _ := client(t, s.URL, h)
				return c
			})
		})
	}
}

// says answers every call alike.
func says(status int, header http.Header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "req-1")
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// calls makes each call of a client, by op.
func calls(c *Client) map[op]func(context.Context) error {
	return map[op]func(context.Context) error{
		opCreate: func(ctx context.Context) error {
			_, err := c.CreateInstance(ctx, project, createBody)
			return err
		},
		opDelete: func(ctx context.Context) error {
			_, _, err := c.DeleteInstance(ctx, project, "0123456789abcdef0123456789abcdefin02")
			return err
		},
		opList: func(ctx context.Context) error {
			_, err := c.ListInstances(ctx, project, provision.InstanceQuery{Name: "n"})
			return err
		},
		opJob: func(ctx context.Context) error {
			_, err := c.Job(ctx, project, "c010abd0-48cf-4fa8-8cbc-090f093eaa2f")
			return err
		},
		opJobs: func(ctx context.Context) error {
			_, err := c.Jobs(ctx, project, provision.JobWindow{From: time.Now().Add(-time.Hour), To: time.Now()})
			return err
		},
	}
}

// fails asserts that err is a CloudError of the class, fit to be shown, and
// without a secret anywhere in its chain.
func fails(t testing.TB, err error, class provision.Class) *provision.CloudError {
	t.Helper()
	e, ok := err.(*provision.CloudError) //nolint:errorlint // the error itself, not one that it wraps
	if !ok {
		t.Fatalf("got %T (%v), want a CloudError of class %s", err, err, class)
	}
	if e.Class != class {
		t.Errorf("class %s, want %s: %v", e.Class, class, e)
	}
	if e.Op == "" || e.Message == "" {
		t.Errorf("no op or no message: %#v", e)
	}
	if !utf8.ValidString(e.Message) || strings.ContainsFunc(e.Message, unicode.IsControl) || utf8.RuneCountInString(e.Message) > maxMessage {
		t.Errorf("the message is not fit to be shown: %q", e.Message)
	}
	for cause := error(e); cause != nil; cause = errors.Unwrap(cause) {
		noSecret(t, fmt.Sprintf("%v %+v %#v", cause, cause, cause))
	}
	return e
}

// noSecret asserts that text holds neither canary, in no form.
func noSecret(t testing.TB, text string) {
	t.Helper()
	for _, secret := range append(encodedCanaries, tokenCanary, passCanary, passCanary[:len(passCanary)-2], `s&<w>0rd`, `0rd\`, "FrzCCBasCAQ", "CANARY") {
		if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
			t.Errorf("%q leaked: %s", secret, text)
		}
	}
}

// encodedCanaries are parts of the canaries in hex and, for each place where they
// may begin within a group, in base64.
var encodedCanaries = func() (all []string) {
	for _, part := range []string{tokenCanary[:15], "IFrzCCBasC", passCanary[:8]} {
		all = append(all, hex.EncodeToString([]byte(part)))
		for before := range 3 {
			text := base64.StdEncoding.EncodeToString(append(make([]byte, before), part...))
			all = append(all, text[(8*before+5)/6:8*(before+len(part))/6])
		}
	}
	return all
}()
