package queue

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// nkey returns the public key of a new user and the file with its seed.
func nkey(t *testing.T) (public, file string) {
	t.Helper()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err = user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return public, writeFile(t, "user.nk", append(seed, '\n'))
}

// creds returns a credentials file whose JWT nobody signed.
func creds(t *testing.T) string {
	t.Helper()
	_, file := nkey(t)
	seed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "user.creds", fmt.Appendf(nil, "-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n"+
		"-----BEGIN USER NKEY SEED-----\n%s------END USER NKEY SEED------\n", "eyJ0eXAiOiJKV1QifQ.e30.c2ln", seed))
}

func TestSettingsThatCannotBeUsed(t *testing.T) {
	ours := newAuthority(t)
	cert, key := ours.issue(t, nil)
	_, otherKey := ours.issue(t, nil)
	expired, expiredKey := ours.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	_, seed := nkey(t)
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	accountSeed, err := account.Seed()
	if err != nil {
		t.Fatal(err)
	}
	missing, junk := filepath.Join(t.TempDir(), "missing"), writeFile(t, "junk", []byte("SUsecret\nsecret.secret.secret"))
	const noFile, both = ": no such file or directory", "NATS_CERT and NATS_KEY belong together"
	cases := map[string]struct {
		server Server
		want   string // empty: nothing is wrong
	}{
		"all well":                 {Server{Creds: creds(t), CA: ours.file, Cert: cert, Key: key, InboxPrefix: "_INBOX_a.b"}, ""},
		"an nkey":                  {Server{NKey: seed}, ""},
		"no credentials":           {Server{Creds: missing}, "NATS_CREDS (" + missing + ")" + noFile},
		"no credentials in it":     {Server{Creds: junk}, "NATS_CREDS (" + junk + "): it is no credentials file"},
		"a seed for credentials":   {Server{Creds: seed}, "NATS_CREDS (" + seed + "): it is no credentials file"},
		"a directory":              {Server{Creds: os.TempDir()}, "NATS_CREDS (" + os.TempDir() + "): is a directory"},
		"no nkey":                  {Server{NKey: missing}, "NATS_NKEY (" + missing + ")" + noFile},
		"no nkey in it":            {Server{NKey: junk}, "NATS_NKEY (" + junk + "): it holds no seed"},
		"an account's nkey":        {Server{NKey: writeFile(t, "account.nk", accountSeed)}, "it holds no seed of a user's nkey"},
		"two logins":               {Server{Creds: creds(t), NKey: seed}, "NATS_CREDS and NATS_NKEY are both set"},
		"an nkey and a user":       {Server{URL: at("nats://me:secret@h").URL, NKey: seed}, "NATS_URL has a login"},
		"no authorities":           {Server{CA: missing}, "NATS_CA (" + missing + ")" + noFile},
		"no authorities in it":     {Server{CA: junk}, "NATS_CA (" + junk + "): it holds no certificate"},
		"a certificate alone":      {Server{Cert: cert}, both},
		"a key alone":              {Server{Key: key}, both},
		"no certificate":           {Server{Cert: missing, Key: key}, "NATS_CERT (" + missing + ")" + noFile},
		"no key":                   {Server{Cert: cert, Key: missing}, "NATS_KEY (" + missing + ")" + noFile},
		"another key":              {Server{Cert: cert, Key: otherKey}, "with NATS_KEY (" + otherKey + "): tls: private key does not match"},
		"certificate and key":      {Server{Cert: key, Key: cert}, "NATS_CERT (" + key + ")"},
		"an expired certificate":   {Server{Cert: expired, Key: expiredKey}, "NATS_CERT (" + expired + "): it expired at "},
		"answers anywhere":         {Server{InboxPrefix: ">"}, "NATS_INBOX_PREFIX"},
		"an unfinished prefix":     {Server{InboxPrefix: "_INBOX."}, "NATS_INBOX_PREFIX"},
		"a prefix with a blank":    {Server{InboxPrefix: "my inbox"}, "NATS_INBOX_PREFIX"},
		"an unreadable address":    {at("nats://me:secret#@h"), "address 1 in NATS_URL cannot be read"},
		"several things at a time": {Server{URL: at("nats://me:secret#@h").URL, CA: missing}, "NATS_CA"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.server.URL.IsZero() {
				c.server.URL = at("nats://h").URL
			}
			got := strings.Join(c.server.Problems(), "\n")
			if !strings.Contains(got, c.want) || (c.want == "") != (got == "") || strings.Contains(got, "secret") {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
			if c.want == "" {
				return
			}
			if _, err := Connect(deadline(t), Config{Server: c.server}); err == nil || err.Error() != got {
				t.Errorf("Connect: %v\nwant %s", err, got)
			}
		})
	}
}

// What both sides have must fit, and where it does not, the error says so at once.
func TestConnectWith(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	withTLS := func(change func(*x509.Certificate)) server.Options {
		return server.Options{TLSConfig: ours.server(t, change), TLSTimeout: limit.Seconds()}
	}
	strict := withTLS(nil)
	strict.TLSConfig.ClientAuth = tls.RequireAndVerifyClientCert
	cert, key := ours.issue(t, nil)
	otherCert, otherKey := theirs.issue(t, nil)
	public, seed := nkey(t)
	_, otherSeed := nkey(t)
	withNKey := server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}}
	cases := map[string]struct {
		options server.Options
		scheme  string
		client  Server
		want    string // empty: it connects
	}{
		"an authority of our own":          {withTLS(nil), "tls", Server{CA: ours.file}, ""},
		"a server that wants TLS":          {withTLS(nil), "nats", Server{CA: ours.file}, ""},
		"no authority":                     {withTLS(nil), "tls", Server{}, "set NATS_CA to"},
		"no authority and no tls://":       {withTLS(nil), "nats", Server{}, "set NATS_CA to"},
		"another authority":                {withTLS(nil), "tls", Server{CA: theirs.file}, "NATS_CA (" + theirs.file + ") lacks"},
		"the server's certificate expired": {withTLS(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "tls", Server{CA: ours.file}, "renew the server's certificate"},
		"a certificate of another host":    {withTLS(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"elsewhere"} }), "tls", Server{CA: ours.file}, "name of the server into NATS_URL"},
		"a client certificate":             {strict, "tls", Server{CA: ours.file, Cert: cert, Key: key}, ""},
		"no client certificate":            {strict, "tls", Server{CA: ours.file}, "set NATS_CERT and NATS_KEY"},
		"another client certificate":       {strict, "tls", Server{CA: ours.file, Cert: otherCert, Key: otherKey}, "refuses the certificate of NATS_CERT (" + otherCert + ")"},
		"a server without TLS":             {server.Options{}, "tls", Server{}, "the server offers no TLS"},
		"a CA and a server without TLS":    {server.Options{}, "nats", Server{CA: ours.file}, "the server offers no TLS"},
		"an nkey":                          {withNKey, "nats", Server{NKey: seed}, ""},
		"another nkey":                     {withNKey, "nats", Server{NKey: otherSeed}, "refuses the login of NATS_NKEY (" + otherSeed + ")"},
		"no login":                         {withNKey, "nats", Server{}, "set NATS_CREDS or NATS_NKEY"},
		"a server without nkeys":           {server.Options{}, "nats", Server{NKey: seed}, "the server knows no nkeys"},
		"credentials that nobody signed":   {withNKey, "nats", Server{Creds: creds(t)}, "refuses the login of NATS_CREDS"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := startWith(t, c.options)
			c.client.URL = at(c.scheme + "://" + s.Addr().String()).URL
			start := time.Now()
			conn, err := Connect(deadline(t), Config{Server: c.client, ConnectTimeout: limit, Log: slog.New(slog.DiscardHandler)})
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %q", err, c.want)
			}
			if time.Since(start) > limit/2 {
				t.Error("it was tried until the deadline")
			}
		})
	}
}

func TestSettingsArePrintedWithoutPasswords(t *testing.T) {
	var log bytes.Buffer
	cfg := Config{Server: at("nats://me:secret@h")}
	slog.New(slog.NewTextHandler(&log, nil)).Info("settings", "config", cfg, "server", cfg.Server)
	if text := fmt.Sprintf("%v %+v %#v %+v", cfg, cfg, cfg, &cfg.Server) + log.String(); strings.Contains(text, "secret") {
		t.Errorf("printed: %s", text)
	}
}
