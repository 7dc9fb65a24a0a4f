package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"ddsworker/internal/provision"
)

// Server says where NATS is, and how to log in there. The tags make it flags
// and variables of a program. The nats CLI reads the same variables, but for
// NATS_INBOX_PREFIX, which is only its flag --inbox-prefix.
type Server struct {
	URL         provision.Secret `name:"nats-url" env:"NATS_URL" default:"nats://127.0.0.1:4222" help:"Servers, separated by commas; tls:// asks for TLS."`
	Creds       string           `name:"nats-creds" env:"NATS_CREDS" placeholder:"FILE" help:"Credentials file."`
	NKey        string           `name:"nats-nkey" env:"NATS_NKEY" placeholder:"FILE" help:"File with the seed of an nkey, instead of a credentials file."`
	CA          string           `name:"nats-ca" env:"NATS_CA" placeholder:"FILE" help:"PEM file with the authorities that sign the server's certificate; asks for TLS. Without it those of the system count."`
	Cert        string           `name:"nats-cert" env:"NATS_CERT" placeholder:"FILE" help:"PEM file with the client certificate; asks for TLS."`
	Key         string           `name:"nats-key" env:"NATS_KEY" placeholder:"FILE" help:"PEM file with the key of the client certificate."`
	InboxPrefix string           `name:"nats-inbox-prefix" env:"NATS_INBOX_PREFIX" default:"_INBOX" help:"Subject below which answers come, so that permissions can keep clients from reading each other's."`
}

// Problems lists what is wrong with the settings and with the files that they
// name, each with its variable. It shows nothing of a password or of a file.
func (s Server) Problems() []string {
	if _, _, err := s.read(); err != nil {
		return strings.Split(err.Error(), "\n")
	}
	return nil
}

// read returns the addresses without a login, and the other settings as the
// client takes them: it reads the files again for each connection, so they can be
// renewed. Its error has a line for each problem.
func (s Server) read() (shown string, options []nats.Option, err error) {
	shown, err = showURL(s.URL.Reveal())
	problems := []error{err}
	for _, part := range []func() (nats.Option, error){s.login, s.authorities, s.certificate, s.inbox} {
		option, err := part()
		problems = append(problems, err)
		if option != nil {
			options = append(options, option)
		}
	}
	return shown, options, errors.Join(problems...)
}

// login is the credentials file or the nkey.
func (s Server) login() (nats.Option, error) {
	switch {
	case s.Creds == "" && s.NKey == "":
		return nil, nil
	case s.Creds != "" && s.NKey != "":
		return nil, errors.New("NATS_CREDS and NATS_NKEY are both set: set one")
	case strings.Contains(s.URL.Reveal(), "@"):
		return nil, errors.New("NATS_URL has a login, and NATS_CREDS or NATS_NKEY is set: give one of them")
	case s.Creds != "":
		return s.credentials()
	}
	option, err := nats.NkeyOptionFromSeed(s.NKey)
	return option, unusable("NATS_NKEY", s.NKey, err, "it holds no seed of a user's nkey (SU…)")
}

func (s Server) credentials() (nats.Option, error) {
	option := nats.UserCredentials(s.Creds)
	var tried nats.Options
	err := option(&tried)
	if err == nil {
		_, err = tried.SignatureCB(nil)
	}
	var jwt string
	if err == nil {
		jwt, err = tried.UserJWT()
	}
	// The client takes a file without a mark for a JWT as a whole.
	if err == nil && strings.Count(jwt, ".") != 2 {
		err = errors.New("no JWT")
	}
	return option, unusable("NATS_CREDS", s.Creds, err, "it is no credentials file, which holds a user's JWT and seed")
}

func (s Server) authorities() (nats.Option, error) {
	if s.CA == "" {
		return nil, nil
	}
	option := nats.RootCAs(s.CA)
	return option, unusable("NATS_CA", s.CA, option(&nats.Options{}), "it holds no certificate in PEM")
}

func (s Server) certificate() (nats.Option, error) {
	if s.Cert == "" && s.Key == "" {
		return nil, nil
	}
	if s.Cert == "" || s.Key == "" {
		return nil, errors.New("NATS_CERT and NATS_KEY belong together: set both or none")
	}
	option := nats.ClientCert(s.Cert, s.Key)
	var tried nats.Options
	if err := option(&tried); err != nil {
		if path, ok := errors.AsType[*fs.PathError](err); ok && path.Path == s.Key {
			return nil, unusable("NATS_KEY", s.Key, err, "")
		}
		return nil, unusable("NATS_CERT", s.Cert, err, fmt.Sprintf("with NATS_KEY (%s): %v", s.Key, errors.Unwrap(err)))
	}
	cert, err := tried.TLSCertCB()
	if err == nil && time.Now().After(cert.Leaf.NotAfter) {
		return nil, fmt.Errorf("NATS_CERT (%s): it expired at %s: renew it", s.Cert, cert.Leaf.NotAfter.Format(time.RFC3339))
	}
	return option, err
}

func (s Server) inbox() (nats.Option, error) {
	prefix := orDefault(s.InboxPrefix, "_INBOX")
	for token := range strings.SplitSeq(prefix, ".") {
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' || r == '*' || r == '>' }) {
			return nil, fmt.Errorf("NATS_INBOX_PREFIX: given %.80q, allowed: a subject without wildcards, like _INBOX_worker", prefix)
		}
	}
	return nats.CustomInboxPrefix(prefix), nil
}

// unusable says which file cannot be used: because of err where it cannot be
// read, and otherwise for the reason given, as some errors show what they read.
func unusable(variable, file string, err error, reason string) error {
	if err == nil {
		return nil
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s (%s): %w", variable, file, path.Err)
	}
	return fmt.Errorf("%s (%s): %s", variable, file, reason)
}
