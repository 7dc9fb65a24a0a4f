package dds

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

func TestBodyShapes(t *testing.T) {
	for _, tc := range []struct {
		name, body    string
		status        int
		code, message string
		class         provision.Class
	}{
		{"service", `{"error_code":"DBS.200001","error_msg":"Parameter error"}`, 400, "DBS.200001", "Parameter error", provision.ClassInvalid},
		{"newer service", `{"errCode":"DBS.200998","externalMessage":"busy"}`, 400, "DBS.200998", "busy", provision.ClassBusy},
		{"code and message", `{"code":"DBS.280443","message":"too many"}`, 429, "DBS.280443", "too many", provision.ClassRate},
		{"nested", `{"a":1,"error":{"error_code":"DBS.280019","error_msg":"unpaid"}}`, 403, "DBS.280019", "unpaid", provision.ClassQuota},
		{"Keystone", `{"error":{"code":401,"message":"Unauthorized.","title":"Unauthorized"}}`, 401, "", "Unauthorized.", provision.ClassAuth},
		{"Keystone, a title only", `{"error":{"code":403,"title":"Forbidden"}}`, 403, "", "Forbidden", provision.ClassForbidden},
		{"null fields", `{"error_code":null,"error_msg":null}`, 502, "", "Bad Gateway; the body is not the cloud's JSON but text/plain of 36 bytes", provision.ClassServer},
		{"HTML", "<html><h1>502 Bad Gateway</h1></html>", 502, "", "Bad Gateway; the body is not the cloud's JSON but text/html of 37 bytes", provision.ClassServer},
		{"empty", "", 503, "", "Service Unavailable; the answer has no body", provision.ClassServer},
		{"an array", `[1]`, 400, "", "Bad Request; the body is not the cloud's JSON but text/plain of 3 bytes", provision.ClassInvalid},
		{"odd types", `{"error_code":["x"],"error_msg":{"a":1}}`, 500, "", "Internal Server Error; the body is not the cloud's JSON but text/plain of 40 bytes", provision.ClassServer},
		{"unsafe words", "{\"error_code\":\"DBS.280001\",\"error_msg\":\"a\\u0000b\\u001b[31m\\n\\tc \\ud800\xff\"}", 400, "DBS.280001", "a b [31m c \uFFFD\uFFFD", provision.ClassInvalid},
		{"unsafe code", `{"error_code":"DBS 1; DROP","error_msg":"m"}`, 400, "", "m", provision.ClassInvalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _ := served(t, says(tc.status, nil, tc.body))
			e := fails(t, calls(c)[opCreate](t.Context()), tc.class)
			if e.Code != tc.code || e.Message != tc.message || e.RequestID != "req-1" {
				t.Errorf("code %q, message %q, request %q", e.Code, e.Message, e.RequestID)
			}
		})
	}
}

func TestLongMessage(t *testing.T) {
	c, _ := served(t, says(400, nil, `{"error_code":"DBS.280001","error_msg":"`+strings.Repeat("ä", 5000)+`"}`))
	e := fails(t, calls(c)[opCreate](t.Context()), provision.ClassInvalid)
	if n := len([]rune(e.Message)); n != maxMessage {
		t.Errorf("%d characters", n)
	}
}

func TestQuotaWithoutKnownCode(t *testing.T) {
	c, _ := served(t, says(403, nil, `{"error_code":"DBS.999999","error_msg":"Insufficient quota."}`))
	fails(t, calls(c)[opCreate](t.Context()), provision.ClassQuota)
	fails(t, calls(c)[opList](t.Context()), provision.ClassForbidden)
}

func TestRetryAfter(t *testing.T) {
	now := time.Now().UTC()
	for _, tc := range []struct {
		header http.Header
		want   time.Duration
	}{
		{http.Header{"Retry-After": {"17"}}, 17 * time.Second},
		{http.Header{"Retry-After": {" 0 "}}, 0},
		{http.Header{"Retry-After": {"-5"}}, 0},
		{http.Header{"Retry-After": {"99999999"}}, time.Hour},
		{http.Header{"Retry-After": {"soon"}}, 0},
		{http.Header{}, 0},
		{http.Header{ // by the cloud's clock, which is a day ahead
			"Retry-After": {now.Add(24*time.Hour + 90*time.Second).Format(http.TimeFormat)},
			"Date":        {now.Add(24 * time.Hour).Format(http.TimeFormat)},
		}, 90 * time.Second},
		{http.Header{"Retry-After": {now.Add(-time.Hour).Format(http.TimeFormat)}}, 0},
	} {
		c, _ := served(t, says(429, tc.header, ""))
		if e := fails(t, calls(c)[opCreate](t.Context()), provision.ClassRate); e.RetryAfter != tc.want {
			t.Errorf("%v: %v, want %v", tc.header, e.RetryAfter, tc.want)
		}
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	var seen atomic.Int64
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		seen.Add(1)
		w.WriteHeader(202)
		_, _ = w.Write([]byte(createdAnswer))
	}))
	defer second.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		c, _ := served(t, says(status, http.Header{"Location": {second.URL + "/v3/x/instances"}}, ""))
		for o, call := range calls(c) {
			e := fails(t, call(t.Context()), provision.ClassServer)
			if e.Status != status || !strings.Contains(e.Message, second.URL) {
				t.Errorf("%s: %v", o, e)
			}
		}
	}
	if n := seen.Load(); n != 0 {
		t.Errorf("the second server saw %d calls", n)
	}
}

// TestRefusedTokenIsNotRetried: whether to call again is not this package's matter.
func TestRefusedTokenIsNotRetried(t *testing.T) {
	var seen atomic.Int64
	c, k := served(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		says(401, nil, `{"error_code":"APIGW.0307","error_msg":"The token must be updated."}`)(w, r)
	})
	for _, call := range calls(c) {
		fails(t, call(t.Context()), provision.ClassAuth)
	}
	if seen.Load() != 5 || k.refused != 5 {
		t.Errorf("%d calls, %d refusals reported; want 5 of each", seen.Load(), k.refused)
	}
}
