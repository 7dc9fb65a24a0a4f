package provision

import (
	"fmt"
	"strconv"
	"strings"
)

// Dialect is the edition of the create API that a cloud speaks. The zero value
// is the union: what at least one of them accepts.
type Dialect string

// The dialects (dds-api.md §8).
const (
	DialectUnion          Dialect = ""
	DialectHuawei         Dialect = "huawei"         // Huawei Cloud today
	DialectOTC            Dialect = "otc"            // Open Telekom Cloud
	DialectFlexibleEngine Dialect = "flexibleengine" // Orange
	DialectHuawei2020     Dialect = "huawei-2020"    // Huawei Cloud as documented in 2020
)

// ParseDialect checks a dialect's name; its error lists those there are.
func ParseDialect(name string) (Dialect, error) {
	switch d := Dialect(name); d {
	case DialectUnion, DialectHuawei, DialectOTC, DialectFlexibleEngine, DialectHuawei2020:
		return d, nil
	}
	return "", fmt.Errorf("unknown dialect %q: use %s, %s, %s or %s, or leave it empty for what any of them accepts",
		name, DialectHuawei, DialectOTC, DialectFlexibleEngine, DialectHuawei2020)
}

// offer is what a dialect takes in a create call. Numbers that are empty, and
// a nil tags, mean that the field is not offered.
type offer struct {
	versions       []string // of DDS-Community
	enhanced       bool     // DDS-Enhanced
	single50       bool     // version 5.0 as a single node
	severalZones   bool     // a comma list in availability_zone
	port           numbers
	password       string  // the special characters
	passwordMust   bool    // it cannot be left out
	clusterNodes   numbers // num of mongos and shard
	replicas       numbers // num of replica
	replicaDisk    numbers // GB
	disks          []string
	backupMinutes  []string
	tags           *tagOffer
	chargeInfo     bool
	configurations bool
	dedicated      bool // dss_pool_id and server_group_policies
}

// tagOffer is what a dialect takes as a tag (dds-api.md §5.2): characters in
// length, and what is allowed besides letters, digits and CJK.
type tagOffer struct {
	minKey, maxKey, maxValue int
	marks                    string
}

const passwordMarks = "~!@#%^*-_=+?"

var (
	quarterHours = []string{"00", "15", "30", "45"}
	shardDisk    = tens(10, 2000) // GB
	configDisk   = only(20)
	singleDisk   = tens(10, 1000)
	poolSize     = tens(100, 1000) // the shared volume of DDS-Enhanced
	enhancedNum  = between(2, 12)
)

// offer returns what the dialect takes (dds-api.md §2.2, §2.3, §8). ParseDialect
// lets no other name in.
func (d Dialect) offer() *offer {
	switch d {
	case DialectHuawei:
		return &huaweiOffer
	case DialectOTC:
		return &otcOffer
	case DialectFlexibleEngine:
		return &flexibleEngineOffer
	case DialectHuawei2020:
		return &huawei2020Offer
	default:
		return &unionOffer
	}
}

var unionOffer = offer{
	versions:       []string{"3.2", "3.4", "4.0", "4.2", "4.4", "5.0"},
	enhanced:       true,
	single50:       true,
	severalZones:   true,
	port:           numbers{spans: []span{{2100, 12016}, {12018, 33070}, {33072, 65535}}, step: 1},
	password:       passwordMarks + "()$",
	clusterNodes:   between(2, 32),
	replicas:       only(1, 3, 5, 7),
	replicaDisk:    tens(10, 3000),
	disks:          []string{"ULTRAHIGH", "EXTREMEHIGH"},
	backupMinutes:  quarterHours,
	tags:           &tagOffer{1, 128, 255, " _.:/=+-@"},
	chargeInfo:     true,
	configurations: true,
	dedicated:      true,
}

var huaweiOffer = offer{
	versions:       []string{"3.4", "4.0", "4.2", "4.4", "5.0"},
	single50:       true,
	severalZones:   true,
	port:           numbers{spans: []span{{2100, 9500}, {27017, 27019}}, step: 1},
	password:       passwordMarks,
	clusterNodes:   between(2, 16),
	replicas:       only(3, 5, 7),
	replicaDisk:    tens(10, 3000),
	disks:          []string{"ULTRAHIGH", "EXTREMEHIGH"},
	backupMinutes:  quarterHours,
	tags:           &tagOffer{1, 36, 43, " _.:/=+-@"},
	chargeInfo:     true,
	configurations: true,
	dedicated:      true,
}

var otcOffer = offer{
	versions:      []string{"4.0", "4.2", "4.4", "5.0"},
	severalZones:  true,
	port:          numbers{spans: []span{{2100, 9500}, {27017, 27019}}, step: 1},
	password:      passwordMarks,
	clusterNodes:  between(2, 32),
	replicas:      only(1, 3),
	replicaDisk:   tens(10, 2000),
	disks:         []string{"ULTRAHIGH"},
	backupMinutes: []string{"00"},
	tags:          &tagOffer{1, 36, 43, "_-"},
}

var flexibleEngineOffer = offer{
	versions:      []string{"3.4", "4.0", "4.2"},
	single50:      true, // has no 5.0
	severalZones:  true,
	password:      passwordMarks,
	passwordMust:  true,
	clusterNodes:  between(2, 12),
	replicas:      only(1),
	replicaDisk:   tens(10, 2000),
	disks:         []string{"ULTRAHIGH"},
	backupMinutes: quarterHours,
}

var huawei2020Offer = offer{
	versions:      []string{"3.2", "3.4", "4.0"},
	enhanced:      true,
	password:      passwordMarks,
	passwordMust:  true,
	clusterNodes:  between(2, 16),
	replicas:      only(1),
	replicaDisk:   tens(10, 2000),
	disks:         []string{"ULTRAHIGH"},
	backupMinutes: quarterHours,
}

// numbers is a set of whole numbers: the multiples of step within the spans.
type numbers struct {
	spans []span
	step  int
}

type span struct{ from, to int }

func between(from, to int) numbers { return numbers{[]span{{from, to}}, 1} }
func tens(from, to int) numbers    { return numbers{[]span{{from, to}}, 10} }

func only(values ...int) numbers {
	n := numbers{step: 1}
	for _, v := range values {
		n.spans = append(n.spans, span{v, v})
	}
	return n
}

func (n numbers) empty() bool { return len(n.spans) == 0 }

func (n numbers) has(value int) bool {
	for _, s := range n.spans {
		if s.from <= value && value <= s.to && value%n.step == 0 {
			return true
		}
	}
	return false
}

// String reads like "2100–9500, 27017–27019" or "10–2000 in steps of 10".
func (n numbers) String() string {
	parts := make([]string, len(n.spans))
	for i, s := range n.spans {
		parts[i] = strconv.Itoa(s.from)
		if s.to != s.from {
			parts[i] += "–" + strconv.Itoa(s.to)
		}
	}
	text := strings.Join(parts, ", ")
	if n.step > 1 {
		text += fmt.Sprintf(" in steps of %d", n.step)
	}
	return text
}

// TakesTags reports whether a create call may carry tags (dds-api.md §8).
func (d Dialect) TakesTags() bool { return d.offer().tags != nil }
