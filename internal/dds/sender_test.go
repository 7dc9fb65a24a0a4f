package dds

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/tokencache"
)

// listen answers each connection with handle, in TCP.
func listen(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			handle(conn)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

// reset closes the connection so that the other side sees a reset.
func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// readRequest reads until the request's body is there.
func readRequest(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	var got []byte
	buf := make([]byte, 64<<10)
	for !bytes.HasSuffix(got, createBody) && !bytes.HasPrefix(got, []byte("GET")) {
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			return
		}
	}
}

func TestDialRefusedIsNotSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c, _ := client(t, "http://"+l.Addr().String(), HTTP{})
	for _, call := range calls(c) {
		e := fails(t, call(t.Context()), provision.ClassNotSent)
		if _, ok := errors.AsType[*net.OpError](e); !ok {
			t.Errorf("the cause is lost: %v", e)
		}
	}
}

func TestUnknownHostIsNotSent(t *testing.T) {
	c, _ := client(t, "https://dds.invalid", HTTP{CallTimeout: 5 * time.Second})
	fails(t, calls(c)[opCreate](t.Context()), provision.ClassNotSent)
}

// A private cloud's certificate is trusted if its authority is named; a call is
// not sent to anybody else.
func TestUntrustedCertificateIsNotSent(t *testing.T) {
	var seen atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		says(202, nil, createdAnswer)(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	c, _ := client(t, s.URL, HTTP{})
	if e := fails(t, calls(c)[opCreate](t.Context()), provision.ClassNotSent); seen.Load() != 0 || !strings.Contains(e.Message, "DDS_CA_FILE") {
		t.Errorf("%d calls, %v", seen.Load(), e)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c, _ = client(t, s.URL, HTTP{Roots: roots})
	if err := calls(c)[opCreate](t.Context()); err != nil {
		t.Errorf("with its authority: %v", err)
	}
}

func TestSilentHandshakeIsNotSent(t *testing.T) {
	address := listen(t, func(conn net.Conn) {
		_, _ = io.Copy(io.Discard, conn) // until the client gives up
		conn.Close()
	})
	c, _ := client(t, strings.Replace(address, "http://", "https://", 1), HTTP{HandshakeTimeout: 50 * time.Millisecond})
	fails(t, calls(c)[opCreate](t.Context()), provision.ClassNotSent)
}

func TestEndedContextIsNotSent(t *testing.T) {
	var seen atomic.Int64
	c, _ := served(t, func(http.ResponseWriter, *http.Request) { seen.Add(1) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, call := range calls(c) {
		if e := fails(t, call(ctx), provision.ClassNotSent); !errors.Is(e, context.Canceled) {
			t.Errorf("cause %v", e.Err)
		}
	}
	if seen.Load() != 0 {
		t.Error("the server was called")
	}
}

func TestResetAfterSendingIsLost(t *testing.T) {
	c, _ := client(t, listen(t, func(conn net.Conn) { readRequest(conn); reset(conn) }), HTTP{})
	fails(t, calls(c)[opCreate](t.Context()), provision.ClassLost)
}

func TestClosedAfterSendingIsLost(t *testing.T) {
	c, _ := client(t, listen(t, func(conn net.Conn) { readRequest(conn); conn.Close() }), HTTP{})
	fails(t, calls(c)[opCreate](t.Context()), provision.ClassLost)
}

func TestGarbageIsLostAndNotShown(t *testing.T) {
	c, _ := client(t, listen(t, func(conn net.Conn) {
		readRequest(conn)
		_, _ = io.WriteString(conn, tokenCanary+" "+passCanary+"\r\n\r\n")
		conn.Close()
	}), HTTP{})
	fails(t, calls(c)[opCreate](t.Context()), provision.ClassLost)
}

func TestAnotherProtocolIsLost(t *testing.T) {
	c, _ := client(t, listen(t, func(conn net.Conn) {
		readRequest(conn)
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn) // until the client gives up
	}), HTTP{CallTimeout: time.Minute})
	began := time.Now()
	fails(t, calls(c)[opCreate](t.Context()), provision.ClassLost)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestCanceledInFlightIsLost(t *testing.T) {
	eachWay(t, func(t *testing.T, reach func(http.HandlerFunc, HTTP) *Client) {
		arrived := make(chan struct{})
		c := reach(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			close(arrived)
			<-r.Context().Done()
		}, HTTP{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-arrived
			cancel()
		}()
		if e := fails(t, calls(c)[opCreate](ctx), provision.ClassLost); !errors.Is(e, context.Canceled) {
			t.Errorf("cause %v", e.Err)
		}
	})
}

func TestTimeoutsAreLost(t *testing.T) {
	const limit = 100 * time.Millisecond
	silent := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	dripping := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "req-slow")
		w.WriteHeader(202)
		for tick := time.NewTicker(limit / 10); ; {
			select {
			case <-tick.C:
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				tick.Stop()
				return
			}
		}
	}
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		http    HTTP
		request string
	}{
		{"no header", silent, HTTP{HeaderTimeout: limit}, ""},
		{"no answer", silent, HTTP{CallTimeout: limit}, ""},
		{"byte by byte", dripping, HTTP{CallTimeout: 5 * limit}, "req-slow"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, reach func(http.HandlerFunc, HTTP) *Client) {
				c := reach(tc.handler, tc.http)
				for _, op := range []op{opCreate, opDelete} {
					start := time.Now()
					e := fails(t, calls(c)[op](t.Context()), provision.ClassLost)
					if took := time.Since(start); took > 3*time.Second {
						t.Errorf("%v took %v", op, took)
					}
					if e.RequestID != tc.request {
						t.Errorf("%v has request id %q", op, e.RequestID)
					}
				}
			})
		})
	}
}

// TestStaleConnection: the server closed a kept connection. A create that was not
// written goes out again over a new one, and never twice.
func TestStaleConnection(t *testing.T) {
	var creates atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		creates.Add(1)
		says(202, nil, createdAnswer)(w, r)
	}))
	defer s.Close()
	c, _ := client(t, s.URL, HTTP{})
	for n := range int64(20) {
		before := creates.Load()
		_, err := c.CreateInstance(t.Context(), project, createBody)
		switch {
		case err != nil && provision.AsCloudError(err).Class == provision.ClassNotSent && creates.Load() != before:
			t.Fatalf("not sent, but it ran: %v", err)
		case creates.Load() > before+1:
			t.Fatalf("call %d ran %d times", n, creates.Load()-before)
		}
		s.CloseClientConnections()
	}
}

func TestConnectionsAreKept(t *testing.T) {
	var opened atomic.Int64
	s := httptest.NewUnstartedServer(says(400, nil, `{"error_code":"DBS.280001","error_msg":"`+strings.Repeat("x", 100_000)+`"}`))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	c, _ := client(t, s.URL, HTTP{})
	for range 20 {
		for _, call := range calls(c) {
			_ = call(t.Context())
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections for 100 calls", n)
	}
}

// TestBodyIsHeldBack: whoever wakes up after the call's time must not complete it.
func TestBodyIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		arrived := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(there)
			arrived <- all
		}()
		conn := &guardedConn{Conn: here}
		first, second := &progress{end: time.Now().Add(time.Second).Round(0)}, &progress{end: time.Now().Add(time.Hour).Round(0)}
		for what, step := range []struct {
			call     *progress
			write    string
			withheld bool
		}{{nil, "handshake ", false}, {first, "begun ", false}, {first, "late ", true}, {second, "another", false}} {
			if step.call != nil && conn.call.Load() != step.call {
				guardOf(tls.Client(conn, nil)).call.Store(step.call)
			}
			n, err := conn.Write([]byte(step.write))
			if step.withheld != errors.Is(err, errWithheld) || step.withheld != (n == 0) {
				t.Errorf("step %d: wrote %d bytes, %v", what, n, err)
			}
			if step.write == "begun " {
				time.Sleep(2 * time.Second) // fake time, as a sleeping machine would see it
			}
		}
		here.Close()
		if got := <-arrived; string(got) != "handshake begun another" {
			t.Errorf("arrived: %q", got)
		}
	})
}

func TestHeldBackIsNotSent(t *testing.T) {
	eachWay(t, func(t *testing.T, reach func(http.HandlerFunc, HTTP) *Client) {
		var arrived atomic.Int64
		c := reach(func(http.ResponseWriter, *http.Request) { arrived.Add(1) }, HTTP{})
		if err := calls(c)[opList](t.Context()); arrived.Load() != 1 {
			t.Fatalf("with time left it does not arrive: %v", err)
		}
		// A deadline whose timer has not fired, as after a sleep of the machine.
		for _, op := range []op{opCreate, opDelete} {
			e := fails(t, calls(c)[op](lateContext{t.Context()}), provision.ClassNotSent)
			if !strings.Contains(e.Message, "held back") || arrived.Load() != 1 {
				t.Errorf("%v: %v; %d calls arrived", op, e, arrived.Load())
			}
		}
	})
}

// TestACallLeavesInOnePiece: header and body of a create in one write.
func TestACallLeavesInOnePiece(t *testing.T) {
	var writes atomic.Int64
	s := httptest.NewServer(says(202, nil, createdAnswer))
	defer s.Close()
	c, _ := client(t, s.URL, HTTP{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return countingConn{conn, &writes}, err
	}})
	if err := calls(c)[opCreate](t.Context()); err != nil || writes.Load() != 1 {
		t.Errorf("%d writes, %v", writes.Load(), err)
	}
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// lateContext has a deadline that passed without the timer noticing.
type lateContext struct{ context.Context }

func (lateContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Minute), true }

func TestNoTokenIsNotSent(t *testing.T) {
	c, k := served(t, func(http.ResponseWriter, *http.Request) { t.Error("the service was called") })
	k.err = &provision.CloudError{Op: "log in", Class: provision.ClassForbidden, Code: "IAM.0062", Status: 401,
		Message: "The username or password is wrong.", RequestID: "iam-1", RetryAfter: time.Second, Err: tokencache.ErrCredentials}
	e := fails(t, calls(c)[opCreate](t.Context()), provision.ClassNotSent)
	if e.Code != "IAM.0062" || !strings.Contains(e.Message, "The username or password is wrong.") || e.RequestID != "iam-1" ||
		e.RetryAfter != time.Second || e.Op != "create instance" || !errors.Is(e, tokencache.ErrCredentials) {
		t.Errorf("%#v", e)
	}
	k.err = context.DeadlineExceeded
	fails(t, calls(c)[opCreate](t.Context()), provision.ClassNotSent)
	k.err = &tokencache.NotYet{Wait: time.Minute, Err: errors.New("the token is too new")}
	if e := fails(t, calls(c)[opCreate](t.Context()), provision.ClassNotSent); e.RetryAfter != time.Minute {
		t.Errorf("it is asked again after %v, want 1m", e.RetryAfter)
	}
}

func TestNoPathIsMadeOfOddIDs(t *testing.T) {
	c, _ := served(t, func(http.ResponseWriter, *http.Request) { t.Error("the service was called") })
	for _, id := range []string{"", ".", "..", "a/b", "a?b", "a%2fb", "ä", strings.Repeat("a", 129)} {
		_, err := c.CreateInstance(t.Context(), id, createBody)
		fails(t, err, provision.ClassInvalid)
		_, _, err = c.DeleteInstance(t.Context(), project, id)
		fails(t, err, provision.ClassInvalid)
	}
}

// What is left of a call that was given up must not arrive later: its connection
// ends with a reset, which drops it, and not with the end of what was written.
func TestACallThatIsGivenUpIsDropped(t *testing.T) {
	end := make(chan error, 1)
	url := listen(t, func(conn net.Conn) {
		defer conn.Close()
		readRequest(conn)
		_, err := conn.Read(make([]byte, 1))
		end <- err
	})
	c, _ := client(t, url, HTTP{CallTimeout: 200 * time.Millisecond})
	fails(t, calls(c)[opCreate](t.Context()), provision.ClassLost)
	if err := <-end; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v, want a reset", err)
	}
}
