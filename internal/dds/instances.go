package dds

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"unicode/utf8"

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
	// One page at a time: many that come at once leave the processors to the others.
	c.reading.Lock()
	defer c.reading.Unlock()
	return a.instances(q.Wanted)
}

// instances reads a page of the list.
func (a answer) instances(wanted map[string]bool) (provision.InstancePage, error) {
	page := provision.InstancePage{Instances: []provision.Instance{}, CloudRequestID: a.requestID}
	var total text
	listed, isList, identified := false, true, true
	w := walker{source: a.body}
	w.members(func(key []byte) {
		switch string(key) {
		case "instances":
			first := w.next()
			listed, isList = first == '[', first == '[' || first == 'n'
			w.items(func() {
				item := w.item()
				i, ok := item.read(a.secrets, wanted)
				page.Instances, identified = append(page.Instances, i), identified && ok
			})
		case "total_count":
			total = w.value().text()
		default:
			w.value()
		}
	})
	if !w.ended() || !isList {
		return provision.InstancePage{}, a.unreadable(notJSON)
	}
	var ok bool
	if page.Total, ok = total.number(); !ok || page.Total < 0 || !listed && page.Total > 0 {
		return provision.InstancePage{}, a.unreadable("a list without its instances or their total_count")
	}
	if !identified {
		return provision.InstancePage{}, a.unreadable("a list with an instance that has no id")
	}
	return page, nil
}

// item is one of the list (§4.3), not read yet.
type item struct {
	whole                                                          raw
	id, name, status, mode, port, region, vpcID, subnetID, created raw
	actions, datastore, tags, groups                               raw
}

// item goes past the next item.
func (w *walker) item() (i item) {
	w.next()
	start := w.at
	w.members(func(key []byte) {
		value := w.value()
		switch string(key) {
		case "id":
			i.id = value
		case "name":
			i.name = value
		case "status":
			i.status = value
		case "actions":
			i.actions = value
		case "mode":
			i.mode = value
		case "datastore":
			i.datastore = value
		case "port":
			i.port = value
		case "region":
			i.region = value
		case "vpc_id":
			i.vpcID = value
		case "subnet_id":
			i.subnetID = value
		case "created":
			i.created = value
		case "tags":
			i.tags = value
		case "groups":
			i.groups = value
		}
	})
	if w.at >= 0 {
		i.whole = w.source[start:w.at]
	}
	return i
}

// read reads what the list is asked for: of an item that is wanted what tells whether
// it is still being built, and all of it once it is not. Most items of a page are
// neither, and an item of a large cluster is some kilobytes. It is false if the item
// has no id, or one that is none.
func (l *item) read(s secrets, wanted map[string]bool) (provision.Instance, bool) {
	given := l.id.text()
	whole, known := wanted[string(given)]
	if wanted != nil && given != "" && !known {
		// It is compared with what is wanted, and goes no further.
		return provision.Instance{}, true
	}
	id, ok := s.id(given)
	if id == "" || !ok {
		return provision.Instance{}, false
	}
	i := provision.Instance{ID: id, Status: s.words(l.status.text()), Mode: s.text(l.mode.text()),
		Actions: l.readActions(s), Tags: l.readTags(s)}
	if wanted == nil || whole && i.Status != provision.InstanceCreating && len(i.Actions) == 0 {
		l.readRest(&i, s)
	}
	return i, true
}

func (l *item) readActions(s secrets) (actions []string) {
	w := walker{source: l.actions}
	w.items(func() {
		if action := w.value().text(); action != "" {
			actions = append(actions, s.text(action))
		}
	})
	return actions
}

func (l *item) readTags(s secrets) map[string]string {
	tags := map[string]string{}
	w := walker{source: l.tags}
	w.items(func() {
		var key, value raw
		isTag := w.next() == '{'
		w.members(func(name []byte) {
			switch v := w.value(); string(name) {
			case "key":
				key = v
			case "value":
				value = v
			}
		})
		if isTag {
			tags[s.text(key.text())] = s.text(value.text())
		}
	})
	return tags
}

// readAddresses returns where the nodes listen: nowhere until the machines exist.
func (l *item) readAddresses(s secrets, port string) (addresses []string) {
	w := walker{source: l.groups}
	node := func(key []byte) {
		if value := w.value(); string(key) == "private_ip" {
			if ip := value.text(); ip != "" && port != "" {
				addresses = append(addresses, net.JoinHostPort(s.text(ip), port))
			}
		}
	}
	w.items(func() {
		w.members(func(key []byte) {
			if string(key) != "nodes" {
				w.value()
				return
			}
			w.items(func() { w.members(node) })
		})
	})
	return addresses
}

// readRest reads what an instance has once it is built.
func (l *item) readRest(i *provision.Instance, s secrets) {
	i.Name, i.Port, i.Region = s.text(l.name.text()), s.text(l.port.text()), s.text(l.region.text())
	i.VPCID, i.SubnetID, i.Created = s.text(l.vpcID.text()), s.text(l.subnetID.text()), s.text(l.created.text())
	w := walker{source: l.datastore}
	w.members(func(key []byte) {
		switch value := w.value(); string(key) {
		case "type":
			i.Datastore = s.text(value.text())
		case "version":
			i.Version = s.text(value.text())
		}
	})
	i.Addresses = l.readAddresses(s, i.Port)
	i.Detail = detail(l.whole, s)
}

// detail is the whole item, fit to be kept.
func detail(whole []byte, s secrets) json.RawMessage {
	text := string(whole)
	if _, found := s.hide(text, false); found {
		return json.RawMessage(`"` + redacted + `"`)
	}
	if provision.IsHarmless(text) {
		return json.RawMessage(text)
	}
	if !utf8.Valid(whole) {
		whole = bytes.ToValidUTF8(whole, []byte("\uFFFD"))
	}
	shown, ok := provision.RedactBody(whole)
	if !ok {
		return nil
	}
	return shown
}
