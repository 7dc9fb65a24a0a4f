package dds

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"ddsworker/internal/provision"
)

func TestEndpoint(t *testing.T) {
	for _, tc := range []struct {
		endpoint, region string
		allow            bool
		want, problem    string
	}{
		{"https://dds.{region}.example.test", "eu-de", false, "https://dds.eu-de.example.test", ""},
		{"https://dds.example.test:8443/base", "", false, "https://dds.example.test:8443/base", ""},
		{"http://127.0.0.1:9", "", false, "http://127.0.0.1:9", ""},
		{"http://localhost:9", "", false, "http://localhost:9", ""},
		{"http://[::1]:9", "", false, "http://[::1]:9", ""},
		{"http://dds.example.test", "", true, "http://dds.example.test", ""},
		{"http://dds.example.test", "", false, "", "DDS_ALLOW_HTTP"},
		{"http://127.0.0.1.example.test", "", false, "", "DDS_ALLOW_HTTP"},
		{"https://dds.{region}.example.test", "", false, "", "OS_REGION_NAME"},
		{"", "", false, "", "DDS_ENDPOINT"},
		{"dds.example.test", "", false, "", "https://host"},
		{"ftp://dds.example.test", "", false, "", "https://host"},
		{"https://user:CANARY@dds.example.test", "", false, "", "must not hold a user"},
		{"https://user:CANARY@dds.exa mple.test", "", false, "", "not a URL"},
		{"https://dds.example.test?x=1", "", false, "", "must not hold"},
	} {
		got, err := parseEndpoint("DDS_ENDPOINT", tc.endpoint, tc.region, tc.allow)
		switch {
		case tc.problem == "" && (err != nil || got.String() != tc.want):
			t.Errorf("%s: %v, %v", tc.endpoint, got, err)
		case tc.problem != "" && (err == nil || !strings.Contains(err.Error(), tc.problem)):
			t.Errorf("%s: error %v does not name %s", tc.endpoint, err, tc.problem)
		case err != nil:
			noSecret(t, err.Error())
		}
	}
	if _, err := New(Config{Endpoint: "http://dds.example.test", Tokens: &tokens{}}); err == nil || !strings.Contains(err.Error(), "DDS_ALLOW_HTTP") {
		t.Errorf("New: %v", err)
	}
	if _, err := New(Config{Endpoint: "https://dds.example.test"}); err == nil {
		t.Error("New without tokens")
	}
}

func TestEndpointWithPath(t *testing.T) {
	var path string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		says(202, nil, createdAnswer)(w, r)
	}))
	defer s.Close()
	c, _ := client(t, s.URL+"/base/", HTTP{})
	if err := calls(c)[opCreate](t.Context()); err != nil || path != "/base/v3/"+project+"/instances" {
		t.Errorf("%s, %v", path, err)
	}
}

// inChild runs the test again in a process with the variables: net/http reads
// the proxies of the environment once.
func inChild(t *testing.T, variables ...string) bool {
	t.Helper()
	const mark = "DDS_TEST_CHILD"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), append(variables, mark+"="+t.Name())...)
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func TestProxyOfTheEnvironment(t *testing.T) {
	var seen atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Method + " " + r.RequestURI)
		if r.Method == http.MethodConnect {
			w.WriteHeader(403)
			return
		}
		says(202, nil, createdAnswer)(w, r)
	}))
	defer proxy.Close()
	if inChild(t, "HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL, "NO_PROXY=", "no_proxy=", "http_proxy=", "https_proxy=") {
		c, _ := client(t, "http://dds.example.test", HTTP{AllowPlainHTTP: true})
		if err := calls(c)[opCreate](t.Context()); err != nil {
			t.Error(err)
		}
		c, _ = client(t, "https://dds.example.test", HTTP{}) // the proxy refuses the tunnel
		fails(t, calls(c)[opCreate](t.Context()), provision.ClassNotSent)
		return
	}
	if got := seen.Load(); got != "CONNECT dds.example.test:443" {
		t.Errorf("the proxy saw last %v", got)
	}
}
