package dds

import (
	"context"
	"net/http"
	"strings"

	"ddsworker/internal/provision"
)

// CreateInstance sends body, a create body as it stands (§2.2), once. Any 2xx
// with an instance id is a success (§2.1); one without, or with another name than the
// body's, is ClassLost: it may be the late answer to an earlier call.
//
// The body's last bytes do not leave after the deadline of ctx, not even when
// the machine slept in between; the class is then ClassNotSent.
func (c *Client) CreateInstance(ctx context.Context, projectID string, body []byte) (provision.Created, error) {
	a, err := c.do(ctx, request{
		op: opCreate, method: http.MethodPost, version: "v3", project: projectID,
		resource: []string{"instances"}, body: body, limit: maxAnswer,
	})
	if err != nil {
		return provision.Created{}, err
	}
	var created struct {
		ID      text `json:"id"`
		Name    text `json:"name"`
		JobID   text `json:"job_id"`
		OrderID text `json:"order_id"`
		Status  text `json:"status"`
	}
	if err := a.decode(&created); err != nil {
		return provision.Created{}, err
	}
	instance, instanceOK := a.secrets.id(created.ID)
	job, jobOK := a.secrets.id(created.JobID)
	order, orderOK := a.secrets.id(created.OrderID)
	if instance == "" || !instanceOK || !jobOK || !orderOK {
		return provision.Created{}, a.unreadable("an answer without an instance id, or with ids that are none")
	}
	if name := stringIn(body, "name"); created.Name != "" && !strings.EqualFold(string(created.Name), name) {
		return provision.Created{}, a.unreadable("an answer about another name")
	}
	return provision.Created{
		InstanceID: instance, JobID: job, OrderID: order,
		Status: a.secrets.words(created.Status), HTTPStatus: a.status, CloudRequestID: a.requestID,
	}, nil
}

// DeleteInstance starts the deletion of an instance (§4.4) and returns the job
// that does it, empty if the answer names none. ClassGone: there is no such
// instance (any more).
func (c *Client) DeleteInstance(ctx context.Context, projectID, instanceID string) (jobID, cloudRequestID string, err error) {
	a, err := c.do(ctx, request{
		op: opDelete, method: http.MethodDelete, version: "v3", project: projectID,
		resource: []string{"instances", instanceID}, limit: maxAnswer,
	})
	if err != nil {
		return "", "", err
	}
	var deleted struct {
		JobID text `json:"job_id"`
	}
	if len(a.body) > 0 {
		if err := a.decode(&deleted); err != nil {
			return "", "", err
		}
	}
	jobID, ok := a.secrets.id(deleted.JobID)
	if !ok {
		return "", "", a.unreadable("an answer with a job id that is none")
	}
	return jobID, a.requestID, nil
}
