package dds

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

// result is what a call gives back, as JSON.
type result struct {
	text string
	err  error
}

// kept makes each call of a client that is answered 200 with body.
func kept(t *testing.T, body string) map[op]result {
	t.Helper()
	c, _ := client(t, "https://dds.example.test", HTTP{})
	c.sender.transport = canned{http.StatusOK, body}
	out := map[op]result{}
	keep := func(o op, given any, err error) {
		text, jsonErr := json.Marshal(given)
		if jsonErr != nil {
			t.Errorf("%s: %v", o, jsonErr)
		}
		out[o] = result{string(text), err}
	}
	created, err := c.CreateInstance(t.Context(), project, createBody)
	keep(opCreate, created, err)
	deleted, _, err := c.DeleteInstance(t.Context(), project, "i1")
	keep(opDelete, deleted, err)
	instances, err := c.ListInstances(t.Context(), project, provision.InstanceQuery{})
	keep(opList, instances, err)
	job, err := c.Job(t.Context(), project, "j1")
	keep(opJob, job, err)
	jobs, err := c.Jobs(t.Context(), project, provision.JobWindow{From: time.Now().Add(-time.Hour), To: time.Now()})
	keep(opJobs, jobs, err)
	return out
}

// answerWith is an answer to all calls that has the text in one field; %s stands
// for it.
func answerWith(t *testing.T, field, text string) string {
	t.Helper()
	value, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	item := `{"id":"i1","status":"normal",` + strings.ReplaceAll(field, "%s", string(value))
	return item + `,"job":` + item + `},"jobs":[` + item + `}],"instances":[` + item + `}],"total_count":1}`
}

// TestWhatIsKeptHasNoSecret: a gateway may repeat the request in any field.
func TestWhatIsKeptHasNoSecret(t *testing.T) {
	fields := []string{`"id":%s`, `"name":%s`, `"status":%s`, `"fail_reason":%s`, `"job_id":%s`, `"order_id":%s`, `"instance_id":%s`,
		`"instance":{"id":%s}`, `"created":%s`, `"actions":[%s]`, `"mode":%s`, `"datastore":{"type":%s,"version":%s}`, `"port":%s`,
		`"region":%s`, `"vpc_id":%s`, `"subnet_id":%s`, `"tags":[{"key":%s,"value":%s}]`, `"port":1,"groups":[{"nodes":[{"private_ip":%s}]}]`,
		`"future":{"field":[%s]}`, `"future":{%s:1}`}
	for secretName, secret := range map[string]string{"token": tokenCanary, "password": passCanary} {
		forms := escapes(secret)
		maps.Copy(forms, encodings(secret))
		if secretName == "token" {
			forms["beginning"] = "X-Auth-Token: " + secret[:worthHiding] + " and more"
		}
		for name, form := range forms {
			for _, field := range fields {
				for o, r := range kept(t, answerWith(t, field, form)) {
					if secretName == "token" || o == opCreate { // the others do not send the password
						noSecret(t, fmt.Sprint(r.text, r.err))
					}
					if t.Failed() {
						t.Fatalf("%s of the %s in %s, for %s", name, secretName, field, o)
					}
				}
			}
		}
	}
}

// TestWordsAboutOldSecretsAreHidden: when a job is read, nobody knows the password
// any more that its instance was created with.
func TestWordsAboutOldSecretsAreHidden(t *testing.T) {
	const document = `{"name":"n","password":"Old-Pass9"}`
	hidden := []string{document, document[10:], `{\"name\":\"n\",\"pass`, `password=Old-Pass9`, `bad: adminPwd: Old-Pass9!`,
		url.QueryEscape(document), "x " + url.QueryEscape(document[10:]), "hex: " + hex.EncodeToString([]byte(document)), `["Old-Pass9"]`,
		"X-Auth-Token: MIIFabc", strings.Repeat("-", 600) + document}
	for before := range 4 {
		text := []byte(strings.Repeat("?", before) + document[10:])
		hidden = append(hidden, "The request "+base64.StdEncoding.EncodeToString(text)+" failed", "v3/"+base64.RawURLEncoding.EncodeToString(text))
	}
	for _, words := range hidden {
		for _, field := range []string{`"fail_reason":%s`, `"status":%s`} {
			results := kept(t, answerWith(t, field, words))
			for _, o := range []op{opJob, opJobs} {
				if r := results[o]; r.err != nil || !strings.Contains(r.text, `:"[redacted]"`) || strings.Contains(r.text, "Old-Pass9") {
					t.Errorf("%s in %s, for %s: %v", words, field, o, r)
				}
			}
		}
		for _, body := range []string{words, answerWith(t, `"instance_id":%s`, words)} {
			for _, o := range []op{opDelete, opList, opJob, opJobs} {
				if r := kept(t, body)[o]; r.err != nil && !strings.Contains(r.err.Error(), "it begins: [redacted]") {
					t.Errorf("%s in an answer that cannot be read, for %s: %v", words, o, r)
				}
			}
		}
	}
	for _, words := range []string{"Failed to create the DB instance.", "exciting: the disk is 90% full & more",
		"subnet 674e9b42-cd8d-4d25-a2e6-5abcc565b961 of 0123456789abcdef0123456789abcdefin02 has no address"} {
		results := kept(t, answerWith(t, `"fail_reason":%s`, words))
		shown := strings.ReplaceAll(words, "&", `\u0026`) // as JSON
		if !strings.Contains(results[opJob].text, shown) || !strings.Contains(results[opJobs].text, shown) {
			t.Errorf("%s gives %v", words, results[opJob])
		}
	}
}

// TestIDs: what is no id by its shape is not taken for one.
func TestIDs(t *testing.T) {
	fields := map[string][]op{`"id":%s`: {opCreate, opList, opJob, opJobs}, `"job_id":%s`: {opCreate, opDelete}, `"order_id":%s`: {opCreate},
		`"instance_id":%s`: {opJob, opJobs}, `"instance":{"id":%s}`: {opJob, opJobs}}
	for id, ok := range map[string]bool{
		"c010abd0-48cf-4fa8-8cbc-090f093eaa2f": true, "0123456789abcdef0123456789abcdefin02": true, "CS2209051234ABC": true, "7": true,
		"Old-Pass9": false, "a b": false, "../x": false, tokenCanary[:40]: false, strings.Repeat("a", 129): false, "ä": false,
	} {
		for field, ops := range fields {
			results := kept(t, answerWith(t, field, id))
			for _, o := range ops {
				taken, lost := strings.Contains(results[o].text, `"`+id+`"`), results[o].err != nil
				if taken != ok || lost == ok && o != opJobs { // there a bad item stays in its place, empty
					t.Errorf("%s as %s of %s: %v", id, field, o, results[o])
				}
				if lost {
					fails(t, results[o].err, provision.ClassLost)
				}
			}
		}
	}
}
