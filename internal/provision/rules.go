package provision

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Rules check the body of a create call before it costs a call. They hold what
// the cloud documents (dds-api.md §2.2, §2.3, §5.2) and our own limits.
type Rules struct {
	// Dialect is the edition of the API; empty for what any of them accepts.
	Dialect Dialect
	// AcceptUnknownFields passes on the fields that these rules do not know.
	AcceptUnknownFields bool
}

// Values that several rules ask for.
const (
	community  = "DDS-Community"
	enhanced   = "DDS-Enhanced"
	sharding   = "Sharding"
	replicaSet = "ReplicaSet"
	single     = "Single"
	wiredTiger = "wiredTiger"
	rocksDB    = "rocksDB"
	prePaid    = "prePaid"
	postPaid   = "postPaid"
)

// bodyFields are all the fields of a create call.
var bodyFields = []field{
	{"name", required, matching(`^[A-Za-z][A-Za-z0-9_-]{3,63}$`,
		"4–64 characters, first a letter, then letters, digits, _ and -")},
	{"datastore", required, object(datastoreFields)},
	// The region may become part of a host name.
	{"region", required, matching(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`,
		"a region id: letters, digits and -")},
	{"availability_zone", required, availabilityZone},
	{"vpc_id", required, uuidRule},
	{"subnet_id", required, uuidRule},
	{"security_group_id", required, uuidRule},
	{"port", offered(func(o *offer) bool { return !o.port.empty() }), portRule},
	{"password", passwordPresence, passwordRule},
	// Ours, not the cloud's: a password that its publisher sealed for the workers.
	{"sealed_password", sealedPresence, sealedRule},
	{"disk_encryption_id", communityOnly, uuidRule},
	{"mode", required, modeRule},
	{"configurations", offered(func(o *offer) bool { return o.configurations }), configurationsRule},
	{"flavor", required, flavorRule},
	{"storage", enhancedOnly, object(poolFields)},
	{"backup_strategy", optional, object(backupFields)},
	{"enterprise_project_id", optional, enterpriseProject},
	{"ssl_option", optional, sslOption},
	{"dss_pool_id", offered(func(o *offer) bool { return o.dedicated }),
		matching(`^[A-Za-z0-9_-]{1,64}$`, "the id of a storage pool")},
	{"server_group_policies", offered(func(o *offer) bool { return o.dedicated }), serverGroupPolicies},
	{"tags", offered(func(o *offer) bool { return o.tags != nil }), tagsRule},
	{"charge_info", offered(func(o *offer) bool { return o.chargeInfo }), chargeInfo},
	{"restore_point", never("nothing: a restored instance cannot carry the tags by which it would be found again; " +
		"create an empty instance and restore into it"), nil},
}

// field is one field of an object.
type field struct {
	name     string
	presence presence
	check    rule
}

// rule checks one value, which is nil where a required one is absent, and
// refuses it with what is allowed.
type rule func(c *checker, n *node)

// presence tells whether a field must be there and, if it must not, why.
type presence func(c *checker) (must bool, mustNot string)

func required(*checker) (bool, string) { return true, "" }
func optional(*checker) (bool, string) { return false, "" }

func never(reason string) presence {
	return func(*checker) (bool, string) { return false, reason }
}

// offered is for an optional field that some dialects lack.
func offered(by func(*offer) bool) presence {
	return func(c *checker) (bool, string) {
		if by(c.offer) {
			return false, ""
		}
		return false, "nothing: this dialect has no such field in a create call"
	}
}

// checker walks a body once. What several rules depend on is read beforehand,
// so that the rules need no order and all of them can be reported at once.
type checker struct {
	report
	offer         *offer
	acceptUnknown bool

	enhanced  bool   // the datastore is DDS-Enhanced
	version   string // of the datastore
	mode      string
	dedicated bool     // asks for resources of a dedicated cloud
	clear     bool     // has a password in the clear
	sealed    bool     // has a sealed one
	node      nodeType // of the flavor item being checked
	charge    charge   // of charge_info
}

func (c *checker) body(root *node) {
	datastore, _ := root.get("datastore").get("type").text()
	c.enhanced = datastore == enhanced
	c.version, _ = root.get("datastore").get("version").text()
	c.mode, _ = root.get("mode").text()
	c.dedicated = root.get("dss_pool_id") != nil || root.get("server_group_policies") != nil
	c.clear, c.sealed = root.get("password") != nil, root.get("sealed_password") != nil
	if root.kind != objectNode {
		// A bare value may well be a password.
		c.opaque = true
	}
	object(bodyFields)(c, root)
	if c.clear {
		c.repeated(root, secretsOf(root))
	}
}

// object checks that a value is an object with these fields.
func object(fields []field) rule {
	return func(c *checker, n *node) {
		if n == nil || n.kind != objectNode {
			c.refuse(n, "an object with the fields "+names(fields))
			return
		}
		for i := range fields {
			c.field(n, &fields[i])
		}
		c.unknown(n, fields)
	}
}

func (c *checker) field(parent *node, f *field) {
	n := parent.get(f.name)
	must, mustNot := f.presence(c)
	if n == nil && !must {
		return
	}
	c.enter(f.name)
	if mustNot != "" {
		c.refuse(n, mustNot)
	} else {
		f.check(c, n)
	}
	c.leave()
}

// each checks the items of a list that has from least to most of them, and
// tells whether it is such a list.
func (c *checker) each(n *node, least, most int, allowed string, check rule) bool {
	isList := n != nil && n.kind == arrayNode
	if !isList || len(n.items) < least || len(n.items) > most {
		c.refuse(n, allowed)
	}
	if !isList {
		return false
	}
	for i := range n.items {
		c.enterItem(i)
		check(c, &n.items[i])
		c.leave()
	}
	return true
}

// refuseInItem refuses the member key of a list's item.
func (c *checker) refuseInItem(list *node, index int, key, allowed string) {
	c.enterItem(index)
	c.enter(key)
	c.refuse(list.items[index].get(key), allowed)
	c.leave()
	c.leave()
}

// matching allows strings of one shape.
func matching(shape, allowed string) rule {
	pattern := regexp.MustCompile(shape)
	return func(c *checker, n *node) {
		if text, ok := n.text(); !ok || !pattern.MatchString(text) {
			c.refuse(n, allowed)
		}
	}
}

// oneOf allows certain strings.
func oneOf(values ...string) rule {
	return func(c *checker, n *node) {
		if text, ok := n.text(); !ok || !slices.Contains(values, text) {
			c.refuse(n, quoted(values))
		}
	}
}

// numberIn allows whole numbers as int or string (dds-api.md §2.4).
func numberIn(allowed numbers, unit string) rule {
	return func(c *checker, n *node) {
		if value, ok := n.whole(); !ok || !allowed.has(value) {
			c.refuse(n, allowed.String()+unit)
		}
	}
}

func boolean(c *checker, n *node) {
	if n == nil || n.kind != literalNode || n.value == "null" {
		c.refuse(n, "true or false")
	}
}

var wholeNumber = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})$`)

// whole returns a number that is written without sign, fraction or exponent, as
// a JSON number or string.
func (n *node) whole() (int, bool) {
	if n == nil || n.kind != numberNode && n.kind != stringNode || !wholeNumber.MatchString(n.value) {
		return 0, false
	}
	value, err := strconv.Atoi(n.value)
	return value, err == nil
}

// quoted reads like `"a", "b" or "c"`.
func quoted(values []string) string {
	if len(values) == 1 {
		return strconv.Quote(values[0])
	}
	last := len(values) - 1
	return fmt.Sprintf(`"%s" or %q`, strings.Join(values[:last], `", "`), values[last])
}

func names(fields []field) string {
	all := make([]string, len(fields))
	for i := range fields {
		all[i] = fields[i].name
	}
	return strings.Join(all, ", ")
}
