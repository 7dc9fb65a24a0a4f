package ddsfake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// wire is a caller over a real connection.
type wire struct {
	*caller
	server *httptest.Server
}

func newWire(t *testing.T, cfg Config) wire {
	t.Helper()
	c := newCaller(t, cfg)
	server := httptest.NewServer(c.cloud)
	t.Cleanup(server.Close)
	return wire{caller: c, server: server}
}

func (w wire) post(ctx context.Context, body object) (*http.Response, error) {
	w.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.server.URL+w.path("/instances"), bytes.NewReader(raw))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", w.token)
	resp, err := w.server.Client().Do(r)
	if err == nil {
		w.t.Cleanup(func() { _ = resp.Body.Close() })
	}
	return resp, err
}

func TestDroppedConnection(t *testing.T) {
	for kind, executed := range map[Kind]bool{DropBefore: false, DropAfter: true} {
		w := newWire(t, Config{})
		w.script(OpCreate, Answer{Kind: kind})
		_, err := w.post(t.Context(), replica(3))
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			t.Errorf("%s: got %v, want a broken connection", kind, err)
		}
		w.wantExecuted(executed)
		if resp, err := w.post(t.Context(), replica(3)); err != nil || resp.StatusCode != 202 {
			t.Errorf("the next call: %v, %v", resp, err)
		}
	}
}

func TestBodyCutShort(t *testing.T) {
	w := newWire(t, Config{})
	w.script(OpCreate, Answer{Kind: CutShort})
	resp, err := w.post(t.Context(), replica(3))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", resp.StatusCode, 202)
	body, err := io.ReadAll(resp.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(body) == 0 {
		t.Errorf("read %d bytes and %v, want some and an unexpected end", len(body), err)
	}
	w.wantExecuted(true)
}

func TestHugeBodyIsStreamed(t *testing.T) {
	w := newWire(t, Config{})
	w.script(OpCreate, Answer{Kind: HugeBody})
	resp, err := w.post(t.Context(), replica(3))
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n < 100<<20 {
		t.Errorf("read %d bytes and %v, want 100 MB", n, err)
	}
	equal(t, "length announced", resp.ContentLength, -1)
	w.wantExecuted(true)
}

func TestSlowBytes(t *testing.T) {
	w := newWire(t, Config{SlowByte: 10 * time.Millisecond})
	w.script(OpCreate, Answer{Kind: SlowBytes})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	resp, err := w.post(ctx, replica(3))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if !errors.Is(err, context.DeadlineExceeded) || len(body) == 0 || len(body) > 60 {
		t.Errorf("read %d bytes and %v, want a few and the deadline", len(body), err)
	}
	w.wantExecuted(true)
}

func TestCallerThatGivesUp(t *testing.T) {
	for kind, executed := range map[Kind]bool{HangBefore: false, HangAfter: true, "": true} {
		w := newWire(t, Config{CreateLatency: time.Minute})
		w.script(OpCreate, Answer{Kind: kind})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, err := w.post(ctx, replica(3)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		cancel()
		w.wantExecuted(executed)
	}
}

func TestRedirectKeepsTheCall(t *testing.T) {
	w := newWire(t, Config{})
	w.script(OpCreate, Answer{Kind: Redirect})
	resp, err := w.post(t.Context(), replica(3)) // the standard client sends body and token again
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", resp.StatusCode, 202)
	equal(t, "calls", w.cloud.Stats().Calls[OpCreate], 2)
	w.wantExecuted(true)
}

func TestLargeBodiesAndHeaders(t *testing.T) {
	w := newWire(t, Config{})
	resp, err := w.post(t.Context(), replica(3).with(object{"remark": strings.Repeat("x", 13<<20)}))
	if err == nil {
		equal(t, "status", resp.StatusCode, 413)
	} else if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Error(err) // the gateway may hang up before the whole body was sent
	}
	w.wantExecuted(false)
	w.token = strings.Repeat("x", 32<<10)
	if resp, err = w.post(t.Context(), replica(3)); err != nil || resp.StatusCode != 401 {
		t.Errorf("a token of 32 kB: %v, %v; want 401 from the service, not a refusal of the server", resp, err)
	}
}
