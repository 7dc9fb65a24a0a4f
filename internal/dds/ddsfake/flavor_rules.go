package ddsfake

import (
	"regexp"
	"slices"
	"strings"
)

var (
	specForm   = regexp.MustCompile(`^dds(\.[a-z0-9]+){3,6}$`)
	seriesForm = regexp.MustCompile(`\.([a-z][0-9][a-z]*)\.`)
)

// flavorRule is what the flavor item of one type must be, dds-api.md §2.3.
type flavorRule struct {
	kind             string
	nums             []int // allowed numbers; nil: 2 to the dialect's or edition's most
	most             int
	minSize, maxSize int // GB; both 0: no disk of its own
	specs            []string
}

func (d dialect) flavorRules(b *createBody) ([]flavorRule, bool) {
	one := []int{1}
	switch {
	case b.Mode == sharding && b.enhanced():
		return []flavorRule{{kind: "shard", most: 12}}, true
	case b.Mode == sharding:
		return []flavorRule{
			{kind: "mongos", most: d.clusterMax, specs: []string{"mongos"}},
			{kind: "shard", most: d.clusterMax, minSize: 10, maxSize: 2000, specs: []string{"shard"}},
			{kind: "config", nums: one, minSize: 20, maxSize: 20, specs: []string{"config"}},
		}, true
	case b.enhanced():
		return nil, false
	case b.Mode == replicaSet: // a documented sample of 2020 has a replica of a shard's spec
		return []flavorRule{{kind: "replica", nums: d.replicaNums, minSize: 10, maxSize: 2000, specs: []string{"repset", "shard"}}}, true
	case b.Mode == single && !(d.noSingle5 && b.Datastore.Version == "5.0"):
		return []flavorRule{{kind: "single", nums: one, minSize: 10, maxSize: 1000, specs: []string{"single", "shard"}}}, true
	}
	return nil, false
}

func (d dialect) modeAndFlavor(b *createBody) string {
	rules, ok := d.flavorRules(b)
	if !ok {
		return "DBS.280342"
	}
	for _, f := range b.Flavor {
		if !slices.ContainsFunc(rules, func(r flavorRule) bool { return r.kind == f.Type }) {
			return "DBS.280414"
		}
	}
	series := ""
	for _, rule := range rules {
		i := slices.IndexFunc(b.Flavor, func(f flavor) bool { return f.Type == rule.kind })
		if i < 0 || len(b.Flavor) != len(rules) { // missing, or twice
			return "DBS.280414"
		}
		if code := rule.check(b.Flavor[i]); code != "" {
			return code
		}
		found := ""
		if m := seriesForm.FindStringSubmatch(b.Flavor[i].Spec); m != nil {
			found = m[1]
		}
		if series != "" && found != series {
			return "DBS.280267"
		}
		series = found
	}
	if b.enhanced() {
		if b.Storage == nil {
			return "DBS.280242"
		}
		return sizeRule(b.Storage.Size, 100, 1000)
	}
	return ""
}

func (r flavorRule) check(f flavor) string {
	_, ok := f.Num.in(2, r.most)
	if r.nums != nil {
		num, known := f.Num.in(1, 99)
		ok = known && slices.Contains(r.nums, num)
	}
	if !ok {
		return "DBS.280123"
	}
	if r.maxSize > 0 {
		if f.Storage != "" && f.Storage != "ULTRAHIGH" && f.Storage != "EXTREMEHIGH" {
			return "DBS.280241"
		}
		if code := sizeRule(f.Size, r.minSize, r.maxSize); code != "" {
			return code
		}
	}
	if !specForm.MatchString(f.Spec) {
		return "DBS.280239"
	}
	ending := f.Spec[strings.LastIndexByte(f.Spec, '.')+1:]
	if r.specs != nil && !slices.Contains(r.specs, ending) {
		return "DBS.280239"
	}
	return ""
}

func sizeRule(size number, low, high int) string {
	gb, ok := size.in(low, high)
	switch {
	case !ok:
		return "DBS.280242"
	case gb%10 != 0:
		return "DBS.200302"
	}
	return ""
}
