package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"ddsworker/internal/dds/ddsfake"
)

// Cloud is the plainest client: kept connections, one login, no retries.
type Cloud struct {
	url, project, token string
	client              *http.Client
}

// NewCloud logs in. conns is how many calls are made at a time.
func NewCloud(ctx context.Context, url, project string, conns int) (*Cloud, error) {
	transport := &http.Transport{MaxIdleConns: conns, MaxIdleConnsPerHost: conns, IdleConnTimeout: time.Minute}
	c := &Cloud{url: url, project: project, client: &http.Client{Transport: transport, Timeout: time.Minute}}
	body := fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":%q,"password":%q,"domain":{"name":%q}}}},
		"scope":{"project":{"id":%q}}}}`, ddsfake.DefaultUser, ddsfake.DefaultPassword, ddsfake.DefaultDomain, project)
	resp, err := c.send(ctx, http.MethodPost, "/v3/auth/tokens?nocatalog=true", []byte(body), http.StatusCreated)
	if err != nil {
		return nil, err
	}
	c.token = resp.Header.Get("X-Subject-Token")
	return c, drop(resp)
}

func (c *Cloud) send(ctx context.Context, method, path string, body []byte, want int) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		r.Header.Set("X-Auth-Token", c.token)
	}
	resp, err := c.client.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != want {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return resp, nil
}

// drop reads an answer to its end, so that its connection can be kept.
func drop(resp *http.Response) error {
	defer resp.Body.Close()
	_, err := io.Copy(io.Discard, resp.Body)
	return err
}

func decode(resp *http.Response, into any) error {
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, resp.Body)
	return err
}

// Created is what a create call brought.
type Created struct {
	InstanceID string `json:"id"`
	JobID      string `json:"job_id"`
	RequestID  string `json:"-"` // the cloud's id of the call
}

// Create makes the create call.
func (c *Cloud) Create(ctx context.Context, body []byte) (created Created, err error) {
	resp, err := c.send(ctx, http.MethodPost, "/v3/"+c.project+"/instances", body, http.StatusAccepted)
	if err != nil {
		return created, err
	}
	err = decode(resp, &created)
	created.RequestID = resp.Header.Get("X-Request-Id")
	return created, err
}

// Job is what the cloud says of a job.
type Job struct {
	Status  string `json:"status"`
	Created string `json:"created"`
	Ended   string `json:"ended"`
}

// Job reads one job.
func (c *Cloud) Job(ctx context.Context, id string) (Job, error) {
	resp, err := c.send(ctx, http.MethodGet, "/v3/"+c.project+"/jobs?id="+id, nil, http.StatusOK)
	if err != nil {
		return Job{}, err
	}
	var v struct{ Job Job }
	return v.Job, decode(resp, &v)
}

// Instance is what the cloud says of an instance.
type Instance struct {
	Status    string
	Port      string
	Addresses []string
	Detail    json.RawMessage
}

// Instance reads one instance.
func (c *Cloud) Instance(ctx context.Context, id string) (i Instance, err error) {
	resp, err := c.send(ctx, http.MethodGet, "/v3/"+c.project+"/instances?id="+id, nil, http.StatusOK)
	if err != nil {
		return i, err
	}
	var v struct{ Instances []json.RawMessage }
	if err := decode(resp, &v); err != nil {
		return i, err
	}
	if len(v.Instances) != 1 {
		return i, fmt.Errorf("there are %d instances %s", len(v.Instances), id)
	}
	var listed struct {
		Status, Port string
		Groups       []struct {
			Nodes []struct {
				PrivateIP string `json:"private_ip"`
			}
		}
	}
	if err := json.Unmarshal(v.Instances[0], &listed); err != nil {
		return i, err
	}
	i = Instance{Status: listed.Status, Port: listed.Port, Detail: v.Instances[0]}
	for _, g := range listed.Groups {
		for _, n := range g.Nodes {
			if n.PrivateIP != "" {
				i.Addresses = append(i.Addresses, n.PrivateIP+":"+listed.Port)
			}
		}
	}
	return i, nil
}

// Body is the create call's body of one request, as it is published: an example of
// the documents under another name.
func Body(example []byte, name string) []byte {
	before, rest, _ := bytes.Cut(example, []byte(`"test-`))
	_, after, _ := bytes.Cut(rest, []byte(`"`))
	return slices.Concat(before, []byte(`"`+name+`"`), after)
}

// tagged adds the two tags that our worker sends, so that the cloud has the same
// to do for everybody.
func tagged(body []byte, mark string) []byte {
	tags := `, "tags": [{"key": "provision-request", "value": "` + mark + `"}, {"key": "provision-by", "value": "` + uuid.Nil.String() + `"}]}`
	return append(body[:bytes.LastIndexByte(body, '}'):bytes.LastIndexByte(body, '}')], tags...)
}

// Name is the name and the id of the n-th request.
func Name(n int) string { return fmt.Sprintf("bench-%07d", n) }
