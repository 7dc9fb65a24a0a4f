package queue

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"github.com/nats-io/nats.go"
)

// isFinal reports whether trying again would fail in the same way, because one
// side refuses what the other one shows.
func isFinal(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || isCertificateRefused(err) || isServerUnverified(err) ||
		errors.Is(err, nats.ErrNkeysNotSupported) || errors.Is(err, nats.ErrSecureConnWanted)
}

// advice says what to do about an error of connecting.
func (s Server) advice(err error) string {
	switch {
	case errors.Is(err, nats.ErrAuthorization) && s.Creds != "":
		return "the server refuses the login of NATS_CREDS (" + s.Creds + ")"
	case errors.Is(err, nats.ErrAuthorization) && s.NKey != "":
		return "the server refuses the login of NATS_NKEY (" + s.NKey + ")"
	case errors.Is(err, nats.ErrAuthorization):
		return "the server refuses the login: check user and password in NATS_URL, or set NATS_CREDS or NATS_NKEY"
	case errors.Is(err, nats.ErrNkeysNotSupported):
		return "the server knows no nkeys: configure the one of NATS_NKEY there, or log in otherwise"
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "the server offers no TLS, which tls:// in NATS_URL, NATS_CA or NATS_CERT asks for"
	case isCertificateRefused(err) && s.Cert == "":
		return "the server ended the TLS handshake; if it wants a client certificate, set NATS_CERT and NATS_KEY"
	case isCertificateRefused(err):
		return "the server refuses the certificate of NATS_CERT (" + s.Cert + ")"
	case isServerUnverified(err):
		return s.trustAdvice(err)
	}
	return "check that it runs there and NATS_URL"
}

// trustAdvice says what to do about a certificate of the server.
func (s Server) trustAdvice(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "put a name of the server into NATS_URL that its certificate has"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "renew the server's certificate, and check the clock of this machine"
	}
	if s.CA == "" {
		return "set NATS_CA to a file with the authorities that sign the server's certificate"
	}
	return "NATS_CA (" + s.CA + ") lacks the authority that signed the server's certificate"
}

// isServerUnverified reports whether we refuse the server's certificate.
func isServerUnverified(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// isCertificateRefused reports whether the server ended the TLS handshake, which
// it does where our certificate is missing or not to its liking.
func isCertificateRefused(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}
