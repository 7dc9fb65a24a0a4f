package ddsfake

import (
	"maps"
	"net/http"
	"slices"
)

// delete is DELETE /v3/{project_id}/instances/{id}, dds-api.md §4.4.
func (c *Cloud) delete(k *call) reply {
	if !instanceIDForm.MatchString(k.route.instance) {
		return c.fail(k, "DBS.280404")
	}
	p := c.projects[k.route.project]
	p.mu.Lock()
	defer p.mu.Unlock()
	now := c.now()
	i := p.byID[k.route.instance]
	switch {
	case i == nil || i.gone(now):
		return c.fail(k, c.dialect.goneCode)
	case i.orderID != "":
		return c.fail(k, "DBS.280406")
	case i.removal != nil || i.state(now).busy():
		return c.fail(k, "DBS.200019")
	}
	at := now.Add(k.late)
	i.removal = &job{
		id: uuid4(), name: "Delete_MongoDB", instance: i, created: at, known: at.Add(c.scaled(c.cfg.JobLag)),
		ends: at.Add(c.scaled(c.cfg.DeleteTime)),
	}
	p.doomed++
	p.addTask(i.removal, now.Add(-c.scaled(c.cfg.JobRetention)))
	p.compact(now)
	return jsonReply(http.StatusAccepted, map[string]string{"job_id": i.removal.id})
}

// noQuota is shown for a mode without a limit.
const noQuota = 1_000_000

// quotas is GET /v3/{project_id}/quotas, dds-api.md §4.4.
func (c *Cloud) quotas(k *call) reply {
	type resource struct {
		Type  string `json:"type"`
		Mode  string `json:"mode"`
		Quota int    `json:"quota"`
		Used  int    `json:"used"`
	}
	p, now := c.projects[k.route.project], c.now()
	p.mu.RLock()
	defer p.mu.RUnlock()
	limits := map[string]int{sharding: noQuota, replicaSet: noQuota, single: noQuota}
	maps.Copy(limits, c.cfg.Quota)
	var answer struct {
		Quotas struct {
			Resources []resource `json:"resources"`
		} `json:"quotas"`
	}
	for _, mode := range slices.Sorted(maps.Keys(limits)) {
		answer.Quotas.Resources = append(answer.Quotas.Resources, resource{"instance", mode, limits[mode], p.count(mode, now)})
	}
	return jsonReply(http.StatusOK, answer)
}
