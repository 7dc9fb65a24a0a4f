package ddsfake

import (
	"fmt"
	"time"
)

// What people do at the console, or with other programs, while a caller works.

// Add makes an instance as somebody else would, of that name and with those tags, ready
// at once, and returns its id. Old dialects show no tags.
func (c *Cloud) Add(projectID, name string, tags ...Tag) string {
	p, now := c.projects[projectID], c.now()
	body := createBody{Name: name, Mode: single, Region: "aaa", Zone: "bbb", Tags: tags,
		Datastore: datastore{Type: "DDS-Community", Version: "4.0", Engine: "wiredTiger"},
		Flavor:    []flavor{{Type: "single", Num: number{"1"}, Size: number{"20"}, Spec: "dds.mongodb.s6.large.2.single"}}}
	i := &instance{id: hex32() + instanceSuffix, body: body, port: defaultPort, created: now, visible: now, settled: now,
		build: &job{id: uuid4(), created: now.Add(-time.Second), known: now, ends: now}}
	i.build.instance = i
	i.build.name, i.build.listName = buildNames(body.Mode)
	p.mu.Lock()
	defer p.mu.Unlock()
	i.seq = len(p.all) + len(p.buried)
	p.add(i)
	return i.id
}

// Remove makes an instance go, whatever state it is in, as its owner would.
func (c *Cloud) Remove(id string) error {
	return c.change(id, func(p *project, i *instance, now time.Time) {
		i.removal = &job{id: uuid4(), instance: i, created: now, known: now, ends: now}
		p.doomed++
	})
}

// SetStatus shows an instance in that status, such as frozen or abnormal, until it is
// set to "" again.
func (c *Cloud) SetStatus(id, status string) error {
	return c.change(id, func(_ *project, i *instance, _ time.Time) { i.shown = status })
}

// Pay pays the open order of an instance: it is built from now on.
func (c *Cloud) Pay(id string) error {
	return c.change(id, func(p *project, i *instance, now time.Time) {
		if !i.unpaid {
			return
		}
		took := i.build.ends.Sub(i.build.created)
		i.settled = now.Add(i.settled.Sub(i.build.created))
		i.visible = now.Add(i.visible.Sub(i.created))
		i.build.known, i.build.created, i.build.ends = now.Add(i.build.known.Sub(i.build.created)), now, now.Add(took)
		i.unpaid = false
		p.addTask(i.build, now.Add(-c.scaled(c.cfg.JobRetention)))
	})
}

// change changes an instance that exists, under its project's lock.
func (c *Cloud) change(id string, do func(*project, *instance, time.Time)) error {
	for _, p := range c.projects {
		p.mu.Lock()
		now := c.now()
		i := p.byID[id]
		found := i != nil && !i.gone(now)
		if found {
			do(p, i, now)
		}
		p.mu.Unlock()
		if found {
			return nil
		}
	}
	return fmt.Errorf("there is no instance %q", id)
}
