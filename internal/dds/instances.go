package dds

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"

	"ddsworker/internal/provision"
)

// ListInstances reads a page of the list, newest first (§4.1). Newer dialects
// answer ClassGone for the id of an instance that does not exist, older ones an
// empty page. An answer that is not whole (an instance without an id, no total)
// is an error: what is missing from it would be taken for absent.
func (c *Client) ListInstances(ctx context.Context, projectID string, q provision.InstanceQuery) (provision.InstancePage, error) {
	query := url.Values{}
	if q.ID != "" {
		query.Set("id", q.ID)
	}
	if q.Name != "" {
		query.Set("name", q.Name)
	}
	if q.Mode != "" {
		query.Set("mode", q.Mode)
	}
	pageQuery(query, q.Offset, q.Limit)
	a, err := c.do(ctx, request{
		op: opList, method: http.MethodGet, version: "v3", project: projectID,
		resource: []string{"instances"}, query: query, limit: maxPage,
	})
	if err != nil {
		return provision.InstancePage{}, err
	}
	var listed struct {
		Instances []json.RawMessage `json:"instances"`
		Total     text              `json:"total_count"`
	}
	if err := a.decode(&listed); err != nil {
		return provision.InstancePage{}, err
	}
	total, ok := listed.Total.number()
	if !ok || total < 0 || listed.Instances == nil && total > 0 {
		return provision.InstancePage{}, a.unreadable("a list without its instances or their total_count")
	}
	page := provision.InstancePage{
		Instances: make([]provision.Instance, len(listed.Instances)), Total: total, CloudRequestID: a.requestID,
	}
	for i, item := range listed.Instances {
		if q.Wanted != nil {
			page.Instances[i], ok = readWanted(item, a.secrets, q.Wanted)
		} else {
			page.Instances[i], ok = readInstance(item, a.secrets)
		}
		if !ok {
			return provision.InstancePage{}, a.unreadable("a list with an instance that has no id")
		}
	}
	return page, nil
}

// listedInstance is an item of the list (§4.3).
type listedInstance struct {
	ID        text       `json:"id"`
	Name      text       `json:"name"`
	Status    text       `json:"status"`
	Actions   list[text] `json:"actions"`
	Mode      text       `json:"mode"`
	Datastore object[struct {
		Type    text `json:"type"`
		Version text `json:"version"`
	}] `json:"datastore"`
	Port     text `json:"port"`
	Region   text `json:"region"`
	VPCID    text `json:"vpc_id"`
	SubnetID text `json:"subnet_id"`
	Created  text `json:"created"`
	Tags     tags `json:"tags"`
	Groups   list[struct {
		Nodes list[struct {
			PrivateIP text `json:"private_ip"`
		}] `json:"nodes"`
	}] `json:"groups"`
}

// readWanted reads of one item what a list is asked for: its id, and more if it is
// wanted, and all of it once it is not being built any more. Most items of a page are
// neither, and an item of a large cluster is some kilobytes.
func readWanted(item json.RawMessage, s secrets, wanted map[string]bool) (provision.Instance, bool) {
	var l struct {
		ID      text       `json:"id"`
		Status  text       `json:"status"`
		Actions list[text] `json:"actions"`
		Mode    text       `json:"mode"`
		Tags    tags       `json:"tags"`
	}
	if json.Unmarshal(item, &l) != nil || l.ID == "" {
		return provision.Instance{}, false
	}
	if !wanted[string(l.ID)] {
		// It is compared with what is wanted, and goes no further.
		return provision.Instance{}, true
	}
	if l.Status != provision.InstanceCreating && len(l.Actions) == 0 {
		return readInstance(item, s)
	}
	id, ok := s.id(l.ID)
	i := provision.Instance{ID: id, Status: s.words(l.Status), Mode: s.text(l.Mode), Tags: l.Tags.read(s)}
	for _, action := range l.Actions {
		if action != "" {
			i.Actions = append(i.Actions, s.text(action))
		}
	}
	return i, ok
}

// tags of an item.
type tags list[struct {
	Key   text `json:"key"`
	Value text `json:"value"`
}]

func (t *tags) UnmarshalJSON(b []byte) error {
	return (*list[struct {
		Key   text `json:"key"`
		Value text `json:"value"`
	}])(t).UnmarshalJSON(b)
}

func (t tags) read(s secrets) map[string]string {
	read := make(map[string]string, len(t))
	for _, tag := range t {
		read[s.text(tag.Key)] = s.text(tag.Value)
	}
	return read
}

// readInstance reads one item; false if it has no id, or one that is none.
func readInstance(item json.RawMessage, s secrets) (provision.Instance, bool) {
	var l listedInstance
	if json.Unmarshal(item, &l) != nil {
		return provision.Instance{}, false
	}
	id, ok := s.id(l.ID)
	if id == "" || !ok {
		return provision.Instance{}, false
	}
	i := provision.Instance{
		ID: id, Name: s.text(l.Name), Status: s.words(l.Status), Mode: s.text(l.Mode),
		Datastore: s.text(l.Datastore.value.Type), Version: s.text(l.Datastore.value.Version),
		Port: s.text(l.Port), Region: s.text(l.Region), VPCID: s.text(l.VPCID), SubnetID: s.text(l.SubnetID),
		Created: s.text(l.Created), Tags: l.Tags.read(s),
	}
	for _, action := range l.Actions {
		if action != "" {
			i.Actions = append(i.Actions, s.text(action))
		}
	}
	for _, group := range l.Groups {
		for _, node := range group.Nodes {
			if node.PrivateIP != "" && l.Port != "" { // empty until the machine exists
				i.Addresses = append(i.Addresses, net.JoinHostPort(s.text(node.PrivateIP), i.Port))
			}
		}
	}
	if _, found := s.hide(string(item), false); found {
		i.Detail = json.RawMessage(`"` + redacted + `"`)
	} else if detail, ok := provision.RedactBody(bytes.ToValidUTF8(item, []byte("\uFFFD"))); ok {
		i.Detail = detail
	}
	return i, true
}
