package dds

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"ddsworker/internal/provision"
)

// rows reads a file of tab-separated rows.
func rows(t *testing.T, name string) [][]string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != '#' {
			all = append(all, strings.Split(line, "\t"))
		}
	}
	return all
}

// oddStatus is one that by itself would mean another class: the code decides.
func oddStatus(c provision.Class) string {
	if c == provision.ClassInvalid {
		return "503"
	}
	return "418"
}

// TestEveryCode sends every documented code, with every status that it is
// documented with and an odd one, as the answer to create, list and delete. classes.tsv was
// written from dds-api.md §6.2, not from the table in codes.go.
func TestEveryCode(t *testing.T) {
	var status int
	var body []byte
	c, _ := served(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "req-1")
		w.WriteHeader(status)
		_, _ = w.Write(body)
	})
	call := calls(c)
	classes := map[string][]string{}
	for _, row := range rows(t, "classes.tsv") {
		classes[row[0]] = row
	}
	codes := rows(t, "codes.tsv")
	if len(codes) != 182 || len(classes) != 182 {
		t.Fatalf("%d codes, %d classes; the documents have 182", len(codes), len(classes))
	}
	for _, row := range codes {
		code, message, want := row[0], row[3], classes[row[0]]
		if want == nil {
			t.Errorf("%s has no class", code)
			continue
		}
		for _, s := range append(row[1:3:3], oddStatus(provision.Class(want[1]))) {
			if s == "-" {
				continue
			}
			var err error
			if status, err = strconv.Atoi(s); err != nil {
				t.Fatal(err)
			}
			body, _ = json.Marshal(map[string]string{"error_code": code, "error_msg": message})
			for o, class := range map[op]string{opCreate: want[1], opList: want[2], opDelete: want[2]} {
				e := fails(t, call[o](context.Background()), provision.Class(class))
				if strconv.Itoa(e.Limit) != want[3] || string(e.Then) != want[4] {
					t.Errorf("%s: limit %d then %q, want %s then %q", code, e.Limit, e.Then, want[3], want[4])
				}
				if e.Code != code || e.Status != status || e.RequestID != "req-1" || e.Message != oneLine(message) || e.Op != string(o) {
					t.Errorf("%s: %#v", code, e)
				}
				if t.Failed() {
					t.Fatalf("at %s %d for %s", code, status, o)
				}
			}
		}
	}
}

func TestOtherCodes(t *testing.T) {
	const (
		auth, forbidden, invalid, quota = provision.ClassAuth, provision.ClassForbidden, provision.ClassInvalid, provision.ClassQuota
		rate, busy, gone, server        = provision.ClassRate, provision.ClassBusy, provision.ClassGone, provision.ClassServer
		notOffered                      = provision.ClassNotOffered
	)
	for _, tc := range []struct {
		code   string
		status int
		op     op
		want   provision.Class
	}{
		// §6.4, in its order
		{"APIGW.0101", 404, opCreate, invalid}, {"APIGW.0101", 404, opDelete, invalid},
		{"APIGW.0101", 404, opList, notOffered}, {"APIGW.0101", 404, opJob, notOffered}, {"APIGW.0101", 404, opJobs, notOffered},
		{"APIG.0101", 404, opJobs, notOffered},
		{"APIGW.0103", 404, opCreate, server}, {"APIGW.0103", 500, opCreate, server},
		{"APIGW.0104", 400, opCreate, server}, {"APIGW.0105", 400, opCreate, server}, {"APIGW.0106", 400, opCreate, server},
		{"APIGW.0201", 400, opCreate, invalid}, {"APIGW.0201", 413, opCreate, invalid}, {"APIGW.0201", 414, opCreate, invalid},
		{"APIGW.0201", 494, opCreate, invalid}, {"APIGW.0201", 502, opCreate, server}, {"APIGW.0201", 504, opCreate, server},
		{"APIGW.0301", 401, opCreate, auth}, {"APIG.0301", 401, opCreate, auth},
		{"APIGW.0302", 403, opCreate, forbidden}, {"APIGW.0304", 403, opCreate, forbidden}, {"APIGW.0306", 403, opCreate, forbidden},
		{"APIGW.0303", 401, opCreate, forbidden}, {"APIGW.0305", 401, opCreate, forbidden},
		{"APIGW.0307", 401, opCreate, auth}, {"APIG.0307", 401, opCreate, auth}, {"APIGW.0311", 401, opCreate, auth},
		{"APIGW.0308", 429, opCreate, rate}, {"APIG.0308", 429, opCreate, rate},
		{"APIGW.0310", 403, opCreate, forbidden}, {"APIGW.0401", 403, opCreate, forbidden},
		{"APIGW.0402", 403, opCreate, forbidden}, {"APIGW.0404", 403, opCreate, forbidden},
		{"APIGW.0501", 405, opCreate, quota}, {"APIGW.0502", 405, opCreate, quota},
		{"APIGW.0601", 500, opCreate, server}, {"APIGW.0602", 400, opCreate, invalid}, {"APIGW.0607", 400, opCreate, invalid},
		{"APIGW.0605", 500, opCreate, server}, {"APIGW.0606", 500, opCreate, server}, {"APIGW.0608", 500, opCreate, server},
		{"APIGW.0609", 500, opCreate, server}, {"APIGW.0611", 500, opCreate, server}, {"APIGW.0612", 500, opCreate, server},
		{"APIGW.0705", 500, opCreate, server}, {"APIGW.0610", 502, opCreate, server}, {"APIGW.0613", 503, opCreate, server},
		{"APIGW.0801", 403, opCreate, forbidden}, {"APIGW.0802", 403, opCreate, forbidden},
		{"APIG.0203", 504, opCreate, server}, {"APIG.0203", 400, opCreate, server},
		// seen in clients, below the table of §6.2
		{"DBS.00010009", 403, opCreate, busy}, {"DBS.239037", 400, opCreate, busy}, {"DBS.280228", 500, opCreate, busy},
		{"DBS.280036", 400, opCreate, busy}, {"CBC.99003651", 400, opDelete, busy}, {"CBC.30060005", 403, opCreate, quota},
		{"DBS.200046", 413, opCreate, quota}, {"DBS.200602", 400, opDelete, gone},
		{"DBS.200022", 409, opCreate, provision.ClassConflict}, // RDS: by code, not by status
		// a job that is not known
		{"DBS.200543", 400, opJob, gone}, {"DBS.280016", 400, opJob, gone}, {"DBS.280001", 400, opJob, gone},
		{"DBS.200001", 400, opJob, gone}, {"DBS.200543", 404, opJob, gone}, {"DBS.123456", 404, opJob, gone},
		{"DBS.280408", 400, opJob, invalid}, {"DBS.280032", 403, opJob, forbidden}, {"DBS.280001", 400, opJobs, invalid},
		// unknown codes
		{"DBS.123456", 400, opCreate, invalid}, {"DBS.123456", 401, opCreate, auth}, {"DBS.123456", 403, opCreate, forbidden},
		{"DBS.123456", 404, opCreate, invalid}, {"DBS.123456", 404, opList, invalid}, {"DBS.123456", 404, opDelete, gone},
		{"DBS.123456", 404, opJobs, notOffered}, {"DBS.123456", 408, opCreate, server}, {"DBS.123456", 413, opCreate, quota},
		{"DBS.123456", 429, opCreate, rate}, {"DBS.123456", 500, opCreate, server}, {"DBS.123456", 599, opCreate, server},
		// no code at all
		{"", 400, opCreate, invalid}, {"", 401, opCreate, auth}, {"", 403, opCreate, forbidden}, {"", 404, opCreate, invalid},
		{"", 404, opDelete, gone}, {"", 404, opList, notOffered}, {"", 404, opJob, notOffered}, {"", 404, opJobs, notOffered},
		{"", 405, opCreate, invalid}, {"", 408, opCreate, server}, {"", 413, opCreate, quota}, {"", 429, opCreate, rate},
		{"", 500, opCreate, server}, {"", 502, opCreate, server}, {"", 503, opCreate, server}, {"", 504, opCreate, server},
		{"", 300, opCreate, server}, {"", 304, opCreate, server},
	} {
		body := `{"error_msg":"words","error_code":"` + tc.code + `","request_id":"from-body"}`
		c, k := served(t, says(tc.status, http.Header{"X-Request-Id": nil}, body))
		e := fails(t, calls(c)[tc.op](t.Context()), tc.want)
		if e.Code != tc.code || e.Status != tc.status {
			t.Errorf("%s %d: %#v", tc.code, tc.status, e)
		}
		if tc.status >= 400 && e.RequestID != "from-body" {
			t.Errorf("%s %d: request id %q", tc.code, tc.status, e.RequestID)
		}
		if refused := k.refused; (refused == 1) != (tc.want == auth) {
			t.Errorf("%s %d: the token was reported refused %d times", tc.code, tc.status, refused)
		}
		if t.Failed() {
			t.Fatalf("at %q %d for %s", tc.code, tc.status, tc.op)
		}
	}
}

func TestCodeDecidesOverStatus(t *testing.T) {
	for code, want := range map[string]provision.Class{
		"APIGW.0302": provision.ClassForbidden, "APIGW.0303": provision.ClassForbidden, "APIGW.0304": provision.ClassForbidden,
		"APIGW.0305": provision.ClassForbidden, "APIGW.0306": provision.ClassForbidden, "APIGW.0310": provision.ClassForbidden,
		"APIGW.0401": provision.ClassForbidden, "APIGW.0402": provision.ClassForbidden, "APIGW.0404": provision.ClassForbidden,
		"APIGW.0801": provision.ClassForbidden, "APIGW.0802": provision.ClassForbidden,
		"APIGW.0301": provision.ClassAuth, "APIGW.0307": provision.ClassAuth, "APIGW.0311": provision.ClassAuth,
		"APIGW.0308": provision.ClassRate, "APIGW.0501": provision.ClassQuota, "APIGW.0502": provision.ClassQuota,
		"APIGW.0103": provision.ClassServer, "APIGW.0104": provision.ClassServer, "APIGW.0105": provision.ClassServer,
		"APIGW.0106": provision.ClassServer, "APIGW.0203": provision.ClassServer, "APIGW.0601": provision.ClassServer,
		"APIGW.0605": provision.ClassServer, "APIGW.0606": provision.ClassServer, "APIGW.0608": provision.ClassServer,
		"APIGW.0609": provision.ClassServer, "APIGW.0610": provision.ClassServer, "APIGW.0611": provision.ClassServer,
		"APIGW.0612": provision.ClassServer, "APIGW.0613": provision.ClassServer, "APIGW.0705": provision.ClassServer,
		"APIGW.0101": provision.ClassInvalid, "APIGW.0602": provision.ClassInvalid, "APIGW.0607": provision.ClassInvalid,
		"IAM.0061": provision.ClassForbidden, "IAM.0012": provision.ClassRate, "IAM.0006": provision.ClassServer,
	} {
		status, err := strconv.Atoi(oddStatus(want))
		if err != nil {
			t.Fatal(err)
		}
		c, _ := served(t, says(status, nil, `{"error_code":"`+code+`","error_msg":"m"}`))
		if e := fails(t, calls(c)[opCreate](t.Context()), want); e.Code != code {
			t.Errorf("%s: %v", code, e)
		}
	}
}

func TestRepeatedRefusals(t *testing.T) {
	for code, want := range map[string]struct {
		class provision.Class
		limit int
		then  provision.Class
	}{
		"APIGW.0301": {provision.ClassAuth, youngRefusals, provision.ClassForbidden},
		"APIGW.0307": {provision.ClassAuth, 0, ""},
		"DBS.280056": {provision.ClassAuth, 0, ""},
	} {
		c, _ := served(t, says(401, nil, `{"error_code":"`+code+`","error_msg":"m"}`))
		e := fails(t, calls(c)[opCreate](t.Context()), want.class)
		if e.Limit != want.limit || e.Then != want.then {
			t.Errorf("%s: %d, %q", code, e.Limit, e.Then)
		}
		// That one worker after the other has its stale token refused says nothing of rights.
		c, k := served(t, says(401, nil, `{"error_code":"`+code+`","error_msg":"m"}`))
		k.stale = true
		e = fails(t, calls(c)[opCreate](t.Context()), provision.ClassAuth)
		if e.Meaning(staleRefusals) != provision.ClassAuth || e.Limit > 0 && e.Meaning(staleRefusals+1) != provision.ClassForbidden {
			t.Errorf("%s with a stale token: %d, %q", code, e.Limit, e.Then)
		}
	}
}
