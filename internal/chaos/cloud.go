package chaos

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"ddsworker/internal/dds/ddsfake"
)

// The tags by which the cloud's truth is compared with ours; the names are the
// documented contract, not taken from the code that is tested.
const tagRequest = "provision-request"

// cloud is the simulated cloud, and a witness of every create call. It speaks TLS, as
// real ones do: that writes by itself when a connection ends.
type cloud struct {
	fake        *ddsfake.Cloud
	server      *http.Server
	addr        string
	certificate []byte // in PEM; workers trust it

	mu    sync.Mutex
	calls []createCall
	gate  chan struct{} // closed: open
	cover func(http.ResponseWriter, *http.Request) bool
}

// createCall is a create call as it arrived, whatever became of it.
type createCall struct {
	Mark      string
	RequestID string // the cloud's, X-Request-Id
	At        time.Time
}

func startCloud(cfg ddsfake.Config) (*cloud, error) {
	identity, err := selfSigned()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cloud{fake: ddsfake.New(cfg), addr: l.Addr().String(), gate: make(chan struct{}),
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: identity.Certificate[0]})}
	close(c.gate)
	c.server = &http.Server{Handler: c, MaxHeaderBytes: 256 << 10, TLSConfig: &tls.Config{Certificates: []tls.Certificate{identity}},
		ErrorLog: log.New(io.Discard, "", 0)} // of handshakes that were broken off
	go func() {
		if err := c.server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			panic(fmt.Sprintf("the simulated cloud ended: %v", err))
		}
	}()
	return c, nil
}

// selfSigned is an identity for this machine that vouches for itself, for a day.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// ServeHTTP implements http.Handler.
func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/instances") {
		body, err := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if err == nil {
			at := time.Now()
			defer func() { c.witness(body, w.Header().Get("X-Request-Id"), at) }()
		}
	}
	c.mu.Lock()
	gate, cover := c.gate, c.cover
	c.mu.Unlock()
	select {
	case <-gate:
	case <-r.Context().Done():
		return
	}
	if cover == nil || !cover(w, r) {
		c.fake.ServeHTTP(w, r)
	}
}

// witness notes a create call that reached the cloud itself.
func (c *cloud) witness(body []byte, requestID string, at time.Time) {
	var b struct{ Tags []ddsfake.Tag }
	if requestID == "" || json.Unmarshal(body, &b) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, createCall{Mark: markOf(b.Tags), RequestID: requestID, At: at})
}

func markOf(tags []ddsfake.Tag) string {
	for _, t := range tags {
		if t.Key == tagRequest {
			return t.Value
		}
	}
	return ""
}

// seen returns the create calls so far.
func (c *cloud) seen() []createCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]createCall(nil), c.calls...)
}

// hang leaves every call without an answer until the function returned is called;
// then those that still wait are answered.
func (c *cloud) hang() (goOn func()) {
	gate := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gate = gate
	return func() { close(gate) }
}

// coverUp lets f answer in the cloud's place, where it returns true.
func (c *cloud) coverUp(f func(http.ResponseWriter, *http.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cover = f
}

func (c *cloud) close() error { return c.server.Close() }
