package dds

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/tokencache"
)

// maxRetryAfter bounds what is believed of a Retry-After header.
const maxRetryAfter = time.Hour

// classify maps an answer that is not 2xx to its error: by the code, and by the
// status only where there is no code, or none that is known (§6).
func classify(a answer) *provision.CloudError {
	r := readRefusal(a.body)
	m := meaningOf(a.call.op, a.status, r)
	e := &provision.CloudError{
		Op: string(a.call.op), Class: m.class, Limit: m.limit, Then: m.then,
		Status: a.status, Code: a.secrets.scrub(r.code, false), Message: a.secrets.clean(r.message),
		RequestID: a.requestID, RetryAfter: retryAfter(a.header),
	}
	if e.RequestID == "" {
		e.RequestID = showID(r.requestID, a.secrets)
	}
	switch {
	case a.status >= 300 && a.status <= 399:
		e.Message = a.secrets.clean("redirected to " + redirectHost(a.header) + ", which is never followed: set the endpoint to the address that answers")
	case e.Message == "":
		e.Message = a.secrets.clean(a.withoutJSON())
	}
	if a.call.op == opLogin && e.Class == provision.ClassForbidden && a.status == http.StatusUnauthorized {
		e.Err = tokencache.ErrCredentials // the others do not feed the lockout, and may concern one project only
	}
	return e
}

// meaning is what a code or status stands for.
type meaning struct {
	class provision.Class
	limit int // how often in a row class holds; 0: always
	then  provision.Class
}

func meaningOf(o op, status int, r refusal) meaning {
	m, known := byCode(o, status, r.code)
	if !known {
		m = byStatus(o, status, r)
	}
	if o == opLogin && m.class == provision.ClassAuth {
		m = meaning{class: provision.ClassForbidden} // there is no token to renew: these are the credentials
	}
	return m
}

// byCode looks the code up, and corrects what depends on the call or the status.
func byCode(o op, status int, code string) (meaning, bool) {
	if gateway, ok := strings.CutPrefix(code, "APIG."); ok { // the prefix of older sites
		code = "APIGW." + gateway
	}
	m, known := meanings[code]
	switch {
	case !known || status < 400: // a redirection has no code
		return m, false
	case code == codeNotPublished && (o == opList || o == opJob || o == opJobs):
		m.class = provision.ClassNotOffered
	case code == codeBadRequest && status >= 500: // the same code for a broken back end
		m.class = provision.ClassServer
	case m.class == provision.ClassGone && o == opCreate:
		m.class = provision.ClassInvalid // something that the body names
	case o == opJob && isParameterCode(code):
		m.class = provision.ClassGone // its one parameter is an id that the cloud gave us
	}
	return m, true
}

// byStatus is for answers without a known code (§6.3).
func byStatus(o op, status int, r refusal) meaning {
	class := provision.ClassInvalid
	switch {
	case status < 400 || status >= 500 || status == http.StatusRequestTimeout:
		class = provision.ClassServer
	case status == http.StatusUnauthorized:
		class = provision.ClassAuth
	case status == http.StatusForbidden && r.code == "":
		class = provision.ClassForbidden
	case status == http.StatusRequestEntityTooLarge:
		class = provision.ClassQuota
	case status == http.StatusTooManyRequests:
		class = provision.ClassRate
	case status == http.StatusNotFound:
		class = notFound(o, r.code)
	case o == opCreate && strings.Contains(strings.ToLower(r.message), "quota"):
		class = provision.ClassQuota // its code is not documented anywhere (§6.2)
	case status == http.StatusForbidden:
		class = provision.ClassForbidden
	}
	return meaning{class: class}
}

// notFound is a 404 with an unknown code, or without one. The service has codes;
// without one it was not reached, because this cloud does not have the API. An
// unknown code is no proof that an instance is gone (dds-api.md §6.2: 200042 is a
// 404, too); where no more than a deletion or a job's entry hangs on it, it is.
func notFound(o op, code string) provision.Class {
	switch {
	case o == opDelete, o == opJob && code != "":
		return provision.ClassGone
	case o == opList && code == "", o == opJob, o == opJobs:
		return provision.ClassNotOffered
	}
	return provision.ClassInvalid
}

// retryAfter reads the header's seconds or date; 0 without it.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	var wait time.Duration
	if n, err := strconv.Atoi(value); err == nil {
		wait = time.Duration(min(n, int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		now, err := http.ParseTime(h.Get("Date")) // their clock for both, if it is there
		if err != nil {
			now = time.Now()
		}
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

func redirectHost(h http.Header) string {
	if u, err := url.Parse(h.Get("Location")); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host
	}
	return "another address"
}
