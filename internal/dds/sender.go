package dds

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/usertimeout"
)

// HTTP says how calls travel. Zero fields have the defaults. Proxies are those of
// the environment: HTTPS_PROXY, HTTP_PROXY, NO_PROXY.
type HTTP struct {
	DialTimeout      time.Duration // of a connection; default 3 s
	HandshakeTimeout time.Duration // of TLS; default 3 s
	HeaderTimeout    time.Duration // from the sent request to the answer's header; default CallTimeout
	CallTimeout      time.Duration // of everything, the token aside; default 10 s
	Concurrency      int           // calls at a time, for which connections are kept; default 64
	AllowPlainHTTP   bool          // http to hosts that are not loopback (DDS_ALLOW_HTTP)

	// Dial makes the connections; nil: TCP, within DialTimeout.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Roots are the authorities that may sign the cloud's certificates
	// (DDS_CA_FILE); nil: those of the system.
	Roots *x509.CertPool
}

func (h HTTP) withDefaults() HTTP {
	h.DialTimeout = cmp.Or(h.DialTimeout, 3*time.Second)
	h.HandshakeTimeout = cmp.Or(h.HandshakeTimeout, 3*time.Second)
	h.CallTimeout = cmp.Or(h.CallTimeout, 10*time.Second)
	h.HeaderTimeout = cmp.Or(h.HeaderTimeout, h.CallTimeout)
	h.Concurrency = cmp.Or(h.Concurrency, 64)
	if h.Dial == nil {
		h.Dial = h.dial
	}
	return h
}

// dial makes connections that drop what they have not sent when they are closed, or
// when nobody has acknowledged it for the time of a call, though the process stands
// still. The kernel would send the rest of a call that was given up for minutes, as
// soon as the way is free again: when somebody has long looked for what it made.
func (h HTTP) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: h.DialTimeout, Control: usertimeout.Of(h.CallTimeout)}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

// sender makes calls over kept connections. It follows no redirects, and keeps no
// cookies.
type sender struct {
	transport http.RoundTripper
	close     func() // idle connections
	timeout   time.Duration
}

func newSender(h HTTP) *sender {
	h = h.withDefaults()
	// Only HTTP/1.1: each call has a connection of its own, so that a broken one
	// takes a single call with it and what was sent is known.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := h.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &guardedConn{Conn: conn}, nil
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{RootCAs: h.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    h.HandshakeTimeout,
		ResponseHeaderTimeout:  h.HeaderTimeout,
		MaxResponseHeaderBytes: 256 << 10, // tokens of up to 100 kB are documented
		WriteBufferSize:        16 << 10,  // so that a call with a token of some kilobytes leaves in one write
		MaxIdleConns:           h.Concurrency,
		MaxIdleConnsPerHost:    h.Concurrency,
		// Shorter than gateways keep theirs: a create that meets a connection
		// which is just being closed may have to be called lost.
		IdleConnTimeout: 30 * time.Second,
		Protocols:       &protocols,
	}
	return &sender{transport: transport, close: transport.CloseIdleConnections, timeout: h.CallTimeout}
}

// call is one HTTP request.
type call struct {
	op      op
	method  string
	url     string
	header  http.Header
	body    []byte
	limit   int64
	secrets secrets // must not be shown
}

// answer is a 2xx answer that was read whole.
type answer struct {
	call      call
	status    int
	header    http.Header
	body      []byte
	requestID string
	secrets   secrets // those of the call, and the token that a login brought
}

// send makes the call once. All its errors are *provision.CloudError.
func (s *sender) send(ctx context.Context, c call) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("no whole answer within %s: %w", s.timeout, context.DeadlineExceeded))
	defer cancel()
	end, _ := ctx.Deadline()
	way := &progress{end: end.Round(0)}
	req, err := c.request(httptrace.WithClientTrace(ctx, way.trace()))
	if err != nil {
		return answer{}, c.fail(provision.ClassInvalid, "not a call that can be made: "+err.Error())
	}
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return answer{}, c.broken(ctx, way, err)
	}
	defer resp.Body.Close()
	a := answer{call: c, status: resp.StatusCode, header: resp.Header,
		secrets: c.secrets}
	if token := resp.Header.Get("X-Subject-Token"); token != "" {
		a.secrets = slices.Concat(c.secrets, newSecrets(token))
	}
	a.requestID = showID(resp.Header.Get("X-Request-Id"), a.secrets) // every answer has it (§6.1)
	if a.status == http.StatusSwitchingProtocols {
		// Its body is the connection itself, and heeds no context.
		return answer{}, a.unreadable("an answer in another protocol")
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, c.limit+1))
	long := int64(len(a.body)) > c.limit
	ok := a.status >= 200 && a.status <= 299
	switch {
	case err != nil:
		// Whatever the status is: the code that decides may be in the missing part.
		words, cause := explain(ctx, err)
		e := a.unreadable("an answer that was cut short: " + words)
		e.Err = cause
		return answer{}, e
	case ok && long:
		return answer{}, a.unreadable(fmt.Sprintf("an answer longer than %d bytes", c.limit))
	case ok:
		return a, nil
	}
	return answer{}, classify(a)
}

func (c call) request(ctx context.Context) (*http.Request, error) {
	var body io.Reader
	if c.body != nil {
		body = bytes.NewReader(c.body) // which the transport knows: it leaves together with the header
	}
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, body)
	if err != nil {
		return nil, err
	}
	req.Header = c.header.Clone()
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "ddsworker")
	// The service takes its requests with and without a body by this type (§2).
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

// fail returns an error of ours about the call.
func (c call) fail(class provision.Class, message string) *provision.CloudError {
	return &provision.CloudError{Op: string(c.op), Class: class, Message: c.secrets.clean(message)}
}

// broken is the error of a call that has no answer.
func (c call) broken(ctx context.Context, way *progress, err error) *provision.CloudError {
	words, cause := explain(ctx, err)
	e := c.fail(provision.ClassLost, "the call left, but no answer came: "+words)
	switch {
	case errors.Is(err, errWithheld): // of the call's own bytes: a connection that is closed writes by itself under TLS
		e = c.fail(provision.ClassNotSent, "held back: the time for this call was over before its last bytes left")
	case !way.sent.Load():
		e = c.fail(provision.ClassNotSent, "the call never left: "+words)
	}
	e.Err = cause
	return e
}

// explain returns the words for an error of the transport, and the cause that can
// be passed on: other errors of the transport repeat what the server sent.
func explain(ctx context.Context, err error) (words string, cause error) {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the address says nothing new
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		if ended := context.Cause(ctx); ended != nil {
			return ended.Error(), ended
		}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return err.Error() + "; DDS_CA_FILE names the authority of a private cloud", nil
	}
	if n, ok := errors.AsType[*net.OpError](err); ok {
		return err.Error(), n
	}
	return err.Error(), nil
}

// progress is how far a call got, and the time by which it must have left.
type progress struct {
	end  time.Time   // without the monotonic clock
	sent atomic.Bool // something of it may have left
}

// trace follows the call. The transport looks for another connection (GetConn)
// only if nothing was written to the last one; a POST and a DELETE it never
// repeats otherwise.
func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { p.sent.Store(false) },
		GotConn: func(info httptrace.GotConnInfo) {
			guardOf(info.Conn).call.Store(p)
			p.sent.Store(true)
		},
	}
}

// errWithheld: the end of the call did not leave, and never will.
var errWithheld = errors.New("the time for this call is over")

// guardedConn is a connection that lets nothing of a call out once its time is over.
// Timers stand still while the machine sleeps, so it goes by the wall clock: a call
// that wakes up after its lease must not complete. It goes on guarding the last call
// until it has another one: an answer may come before all of a body has left.
type guardedConn struct {
	net.Conn
	call atomic.Pointer[progress]
}

func (c *guardedConn) Write(p []byte) (int, error) {
	if way := c.call.Load(); way != nil && time.Now().Round(0).After(way.end) {
		return 0, errWithheld
	}
	return c.Conn.Write(p)
}

// guardOf finds the guard beneath the TLS of a connection, and of one to a proxy.
func guardOf(conn net.Conn) *guardedConn {
	for {
		switch c := conn.(type) {
		case *guardedConn:
			return c
		case *tls.Conn:
			conn = c.NetConn()
		default:
			panic(fmt.Sprintf("dds: a connection of type %T that was not dialed here", conn))
		}
	}
}
