package dds

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"

	"ddsworker/internal/provision"
)

// showID makes an id of a call fit to be shown and stored.
func showID(id string, s secrets) string { return cut(printable(s.scrub(id, false)), 128) }

// unreadable is the error of an answer that does not tell what became of the
// call. what completes "the cloud sent …".
func (a answer) unreadable(what string) *provision.CloudError {
	begin := a.secrets.scrub(string(a.body), true)
	if a.call.body == nil && isTelltale(begin) {
		begin = redacted // it may repeat an earlier call, whose password this one does not know
	}
	if begin = cut(oneLine(begin), maxExcerpt); begin != "" {
		begin = "; it begins: " + begin
	}
	return &provision.CloudError{
		Op: string(a.call.op), Class: provision.ClassLost, Status: a.status, RequestID: a.requestID,
		Message: cut(a.secrets.clean("the cloud sent "+what)+begin, maxMessage),
	}
}

const notJSON = "an answer that is not the JSON it should be"

// decode reads the answer's JSON into v.
func (a answer) decode(v any) error {
	if json.Unmarshal(a.body, v) != nil {
		return a.unreadable(notJSON)
	}
	return nil
}

// refusal is what the body of an answer says about an error. Its fields are empty
// where the body does not say it.
type refusal struct {
	code, message, requestID string
}

// readRefusal reads all the shapes of §6.1: the service's, the gateway's, IAM's,
// and any of them one level down.
func readRefusal(body []byte) refusal {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return refusal{}
	}
	r := refusalIn(fields)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if r.code != "" || r.message != "" {
			break
		}
		var inner map[string]json.RawMessage
		if json.Unmarshal(fields[name], &inner) == nil {
			id := r.requestID
			r = refusalIn(inner)
			if r.requestID == "" {
				r.requestID = id
			}
		}
	}
	return r
}

func refusalIn(fields map[string]json.RawMessage) refusal {
	first := func(names ...string) string {
		for _, name := range names {
			var v text
			if raw, ok := fields[name]; ok && json.Unmarshal(raw, &v) == nil && v != "" {
				return string(v)
			}
		}
		return ""
	}
	r := refusal{
		code:      first("error_code", "errCode", "code"),
		message:   first("error_msg", "externalMessage", "message", "title"),
		requestID: first("request_id"),
	}
	if !isCode(r.code) {
		r.code = "" // Keystone repeats the status there
	}
	return r
}

// isCode tells whether s looks like DBS.280001, APIGW.0308 or the like.
func isCode(s string) bool {
	if s == "" || len(s) > 64 || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	return isSegment(s)
}

// withoutJSON says what came where the cloud's JSON was expected.
func (a answer) withoutJSON() string {
	words := http.StatusText(a.status)
	if words == "" {
		words = "unknown status"
	}
	if len(a.body) == 0 {
		return words + "; the answer has no body"
	}
	kind, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil {
		kind = "unknown type"
	}
	return fmt.Sprintf("%s; the body is not the cloud's JSON but %s of %d bytes", words, kind, len(a.body))
}
