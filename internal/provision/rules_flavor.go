package provision

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// nodeType is what a mode's flavor item of one type may ask for.
type nodeType struct {
	name string
	num  numbers
	disk numbers // GB; empty if nodes of this type have no disk of their own
}

// nodeTypes returns the types of which a mode needs one item each, or nil if
// the mode itself is wrong (dds-api.md §2.3).
func nodeTypes(mode string, isEnhanced bool, o *offer) []nodeType {
	switch {
	case mode == sharding && isEnhanced: // the service adds mongos and config
		return []nodeType{{name: "shard", num: enhancedNum}}
	case mode == sharding:
		return []nodeType{
			{name: "mongos", num: o.clusterNodes},
			{name: "shard", num: o.clusterNodes, disk: shardDisk},
			{name: "config", num: only(1), disk: configDisk},
		}
	case mode == replicaSet:
		return []nodeType{{name: "replica", num: o.replicas, disk: o.replicaDisk}}
	case mode == single:
		return []nodeType{{name: "single", num: only(1), disk: singleDisk}}
	}
	return nil
}

var flavorFields = []field{
	{"type", required, func(c *checker, n *node) { oneOf(typeNames(c.nodeTypes())...)(c, n) }},
	{"num", required, func(c *checker, n *node) { numberIn(c.node.num, "")(c, n) }},
	{"storage", withDisk(optional), func(c *checker, n *node) { oneOf(c.offer.disks...)(c, n) }},
	{"size", withDisk(required), func(c *checker, n *node) { numberIn(c.node.disk, " (GB)")(c, n) }},
	{"spec_code", required, matching(specCodeShape, "a spec code like dds.mongodb.c6.large.4.shard")},
}

// withDisk is for fields that only nodes with a disk have.
func withDisk(otherwise presence) presence {
	return func(c *checker) (must bool, mustNot string) {
		if c.node.name == "" {
			return false, ""
		}
		if c.node.disk.empty() {
			return false, "nothing: nodes of this type have no disk of their own"
		}
		return otherwise(c)
	}
}

// nodeTypes returns the types that the body's mode allows; all there are if the
// mode is wrong, so that the items are still checked.
func (c *checker) nodeTypes() []nodeType {
	if types := nodeTypes(c.mode, c.enhanced, c.offer); types != nil {
		return types
	}
	return slices.Concat(nodeTypes(sharding, c.enhanced, c.offer),
		nodeTypes(replicaSet, c.enhanced, c.offer), nodeTypes(single, c.enhanced, c.offer))
}

func flavorRule(c *checker, n *node) {
	types := c.nodeTypes()
	allowed := "a list with one item for each type of node: " + strings.Join(typeNames(types), ", ")
	if c.each(n, 1, math.MaxInt, allowed, func(c *checker, item *node) { flavorItem(c, item, types) }) {
		eachTypeOnce(c, n, types)
		oneSeries(c, n)
	}
}

// anyNode is for an item whose type is wrong: the other fields are still looked
// at, as far as they do not depend on it.
var anyNode = nodeType{num: between(1, 32), disk: tens(10, 3000)}

func flavorItem(c *checker, item *node, types []nodeType) {
	name, _ := item.get("type").text()
	c.node = anyNode
	if i := slices.Index(typeNames(types), name); i >= 0 {
		c.node = types[i]
	}
	object(flavorFields)(c, item)
}

func eachTypeOnce(c *checker, n *node, types []nodeType) {
	seen := map[string]bool{}
	for i := range n.items {
		if name, ok := n.items[i].get("type").text(); ok {
			if seen[name] {
				c.refuseInItem(n, i, "type", "one item of each type: put the nodes of a type together")
			}
			seen[name] = true
		}
	}
	if len(n.items) == 0 || nodeTypes(c.mode, c.enhanced, c.offer) == nil {
		return // refused as a whole, or nobody knows which types are needed
	}
	for _, t := range types {
		if !seen[t.name] {
			c.refuse(nil, fmt.Sprintf("an item of type %q: mode %s needs one", t.name, c.mode))
		}
	}
}

// specCodeShape is lenient: the cloud makes new codes up. Its group is
// the series, the generation of the hardware.
const specCodeShape = `^dds\.(?:[a-z]+\.)*([a-z]+[0-9]+[a-z]*)(?:\.[A-Za-z0-9_-]+)+$`

var specCode = regexp.MustCompile(specCodeShape)

// oneSeries refuses spec codes of another series than the first.
func oneSeries(c *checker, n *node) {
	first := ""
	for i := range n.items {
		code, _ := n.items[i].get("spec_code").text()
		match := specCode.FindStringSubmatch(code)
		switch {
		case match == nil:
		case first == "":
			first = match[1]
		case match[1] != first:
			c.refuseInItem(n, i, "spec_code", "spec codes of one series: the first is of "+first)
		}
	}
}

func typeNames(types []nodeType) []string {
	all := make([]string, len(types))
	for i, t := range types {
		all[i] = t.name
	}
	return all
}

var configurationFields = []field{
	{"type", required, func(c *checker, n *node) { oneOf(typeNames(c.nodeTypes())...)(c, n) }},
	{"configuration_id", required, matching(`^[0-9a-f]{32}pr02$`, "the id of a parameter template: 32 hexadecimal digits and pr02")},
}

func configurationsRule(c *checker, n *node) {
	seen := map[string]bool{}
	c.each(n, 0, math.MaxInt, "a list of {type, configuration_id}", func(c *checker, item *node) {
		object(configurationFields)(c, item)
		if name, ok := item.get("type").text(); ok {
			if seen[name] {
				c.refuse(item, "one configuration for each type")
			}
			seen[name] = true
		}
	})
}
