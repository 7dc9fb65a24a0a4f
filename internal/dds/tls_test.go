package dds

import (
	"crypto/x509"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"ddsworker/internal/provision"
)

// A private cloud's certificate is trusted if its authority is named, and a call
// is not sent to anybody else.
func TestPrivateAuthority(t *testing.T) {
	server := httptest.NewUnstartedServer(says(202, nil, createdAnswer))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for what, roots := range map[string]*x509.CertPool{"named": roots, "unknown": nil} {
		client, err := New(Config{Endpoint: server.URL, Tokens: &tokens{}, HTTP: HTTP{Roots: roots}})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		_, err = client.CreateInstance(t.Context(), "p", []byte(`{}`))
		if roots != nil {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if err == nil || provision.AsCloudError(err).Class != provision.ClassNotSent || !strings.Contains(err.Error(), "DDS_CA_FILE") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
