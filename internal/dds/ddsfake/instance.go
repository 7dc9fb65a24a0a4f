package ddsfake

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// instance is what create left behind. What state it is in follows from the time.
type instance struct {
	seq     int // of the project, for addresses
	id      string
	body    createBody // without the password
	port    int
	created time.Time
	visible time.Time // in the list from then on
	settled time.Time // no action runs any more
	build   *job
	orderID string
	unpaid  bool   // the order waits for somebody to pay: nothing is built or shown
	shown   string // the status that the tester wants shown instead
	removal *job   // set once, under the project's lock
}

func (i *instance) gone(now time.Time) bool { return i.removal != nil && !now.Before(i.removal.ends) }

func (i *instance) listed(now time.Time) bool {
	return !i.unpaid && !i.gone(now) && !now.Before(i.visible)
}

// The statuses and actions in use, dds-api.md §4.2.
const (
	statusCreating   = "creating"
	statusNormal     = "normal"
	statusCreateFail = "createfail"
	statusDeleted    = "deleted" // shown to the tester only

	actionCreate = "CREATE"
	actionDelete = "DELETE_INSTANCE"
)

// Shares of the building time at which something changes.
const (
	nodesFrom  = 0.1 // first node appears
	nodesTo    = 0.5 // last node appears
	upFrom     = 0.4 // first node is up and has an address
	upTo       = 0.8
	normalFrom = 0.9 // status normal, while the action still runs
	failsAt    = 0.6 // a build that fails stops growing here
)

// state is an instance at one time.
type state struct {
	status  string
	actions []string
	grown   float64 // share of the building time that has passed
	updated time.Time
}

func (i *instance) state(now time.Time) state {
	s := state{actions: []string{}, grown: i.build.share(now), updated: i.created}
	switch {
	case i.gone(now):
		return state{status: statusDeleted, actions: []string{}, updated: i.removal.ends}
	case i.build.fails:
		s.grown = min(s.grown, failsAt)
		s.status = statusCreating
		if !i.build.running(now) {
			s.status, s.updated = statusCreateFail, i.build.ends
		}
	case s.grown >= normalFrom:
		s.status = statusNormal
	default:
		s.status = statusCreating
	}
	if s.status == statusCreating || s.status == statusNormal && now.Before(i.settled) {
		s.actions = []string{actionCreate}
	} else if s.status == statusNormal {
		s.updated = i.settled
	}
	if i.shown != "" {
		s.status = i.shown
	}
	if i.removal != nil && !now.Before(i.removal.created) {
		s.actions, s.updated = []string{actionDelete}, i.removal.created
	}
	return s
}

// busy says whether an operation is running.
func (s state) busy() bool { return len(s.actions) > 0 }

// group and node are as the list shows them, dds-api.md §4.3.
type group struct {
	ID     *string `json:"id,omitempty"`
	Name   *string `json:"name,omitempty"`
	Status *string `json:"status,omitempty"`
	Type   string  `json:"type"`
	Volume *volume `json:"volume,omitempty"`
	Nodes  []node  `json:"nodes"`
}

type volume struct {
	Size string `json:"size"`
	Used string `json:"used"`
}

type node struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	Status    string  `json:"status"`
	Role      string  `json:"role"`
	PrivateIP *string `json:"private_ip,omitempty"`
	PublicIP  *string `json:"public_ip,omitempty"`
	Spec      string  `json:"spec_code"`
	Zone      string  `json:"availability_zone"`
}

// groups are the groups that have a node by now.
func (i *instance) groups(grown float64) []group {
	all := i.finalGroups()
	total := 0
	for _, g := range all {
		total += len(g.Nodes)
	}
	shown := reached(total, grown, nodesFrom, nodesTo)
	up := reached(total, grown, upFrom, upTo)
	n := 0
	groups := []group{}
	for _, g := range all {
		keep := min(len(g.Nodes), max(shown-n, 0))
		g.Nodes = g.Nodes[:keep]
		for j := range g.Nodes {
			if n+j >= up { // the machine is still being made
				g.Nodes[j].Status, g.Nodes[j].Role = "abnormal", "unknown"
				if g.Nodes[j].PrivateIP != nil {
					g.Nodes[j].PrivateIP = new(string)
				}
			}
		}
		n += keep
		if keep > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// reached is how many of total are there when they come evenly between two shares of the time.
func reached(total int, grown, from, to float64) int {
	return int(math.Floor(float64(total) * min(max((grown-from)/(to-from), 0), 1)))
}

func (i *instance) finalGroups() []group {
	var b groupBuilder
	b.instance, b.zones = i, strings.Split(i.body.Zone, ",")
	if i.body.enhanced() {
		b.add("mongos", "", "mongos", i.spec("shard"), 2)
		for s := range i.num("shard") {
			b.add("shard", fmt.Sprintf("shard_%d", s+1), fmt.Sprintf("shard_%d", s+1), i.spec("shard"), 1)
		}
		b.add("config", "config", "config", i.spec("shard"), 3)
		return b.groups
	}
	switch i.body.Mode {
	case sharding:
		b.add("mongos", "", "mongos", i.spec("mongos"), i.num("mongos"))
		for s := range i.num("shard") {
			b.add("shard", fmt.Sprintf("shard_%d", s+1), fmt.Sprintf("shard_%d", s+1), i.spec("shard"), 3)
		}
		b.add("config", "config", "config", i.spec("config"), 3)
	case replicaSet:
		b.add("replica", "", "replica", i.spec("replica"), max(3, i.num("replica")))
	default:
		b.add("single", "", "single", i.spec("single"), 1)
	}
	return b.groups
}

func (i *instance) flavor(kind string) flavor {
	at := slices.IndexFunc(i.body.Flavor, func(f flavor) bool { return f.Type == kind })
	return i.body.Flavor[at]
}

func (i *instance) num(kind string) int {
	n, _ := i.flavor(kind).Num.in(1, math.MaxInt)
	return n
}

func (i *instance) spec(kind string) string { return i.flavor(kind).Spec }

type groupBuilder struct {
	instance *instance
	zones    []string
	groups   []group
	nodes    int
}

// add appends a group; name "" is a group without id, name and status of its own.
func (b *groupBuilder) add(kind, name, part, spec string, nodes int) {
	g := group{Type: kind}
	if kind != "mongos" && !b.instance.body.enhanced() {
		g.Volume = &volume{Size: b.instance.flavor(kind).Size.text, Used: "0.33"}
	}
	if name != "" {
		id, status := derived(b.instance.id+name)+groupSuffix, statusNormal
		g.ID, g.Name, g.Status = &id, &name, &status
	}
	for n := range nodes {
		v := node{
			ID:     derived(fmt.Sprint(b.instance.id, " node ", b.nodes)) + nodeSuffix,
			Name:   fmt.Sprintf("%s_%s_node_%d", b.instance.body.Name, part, n+1),
			Status: statusNormal,
			Role:   role(kind, n),
			Spec:   spec,
			Zone:   b.zones[n%len(b.zones)],
		}
		if kind != "shard" && kind != "config" { // these two never have the keys
			host := b.instance.seq*32 + b.nodes + 1
			ip := fmt.Sprintf("10.%d.%d.%d", host>>16&255, host>>8&255, host&255)
			v.PrivateIP, v.PublicIP = &ip, new(string)
		}
		g.Nodes = append(g.Nodes, v)
		b.nodes++
	}
	b.groups = append(b.groups, g)
}

func role(kind string, n int) string {
	switch {
	case kind == "mongos":
		return "master"
	case n == 0:
		return "Primary"
	case n == 2:
		return "Hidden"
	}
	return "Secondary"
}
