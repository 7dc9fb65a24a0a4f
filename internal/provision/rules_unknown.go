package provision

import (
	"slices"
	"strings"
)

// unknown refuses the members of an object that are none of its fields.
func (c *checker) unknown(n *node, fields []field) {
	for i := range n.members {
		m := &n.members[i]
		if slices.ContainsFunc(fields, func(f field) bool { return f.name == m.key }) {
			continue
		}
		c.enter(m.key)
		if c.acceptUnknown {
			c.unsealed(m.key, &m.value)
		} else {
			c.refuse(&m.value, suggestion(m.key, fields))
		}
		c.leave()
	}
}

// unsealed refuses secrets in fields that are passed on unknown: only the
// password is sealed before a body is stored.
func (c *checker) unsealed(key string, n *node) {
	if isSecretName(key) {
		c.refuse(n, "no secrets but the password, which alone is stored encrypted")
		return
	}
	for i := range n.members {
		m := &n.members[i]
		c.enter(m.key)
		c.unsealed(m.key, &m.value)
		c.leave()
	}
	for i := range n.items {
		c.enterItem(i)
		c.unsealed("", &n.items[i])
		c.leave()
	}
	if inner, ok := n.document(); ok {
		c.unsealed("", &inner)
	}
}

// suggestion names the field that was probably meant, or all there are.
func suggestion(key string, fields []field) string {
	nearest, distance := "", 3
	if len(key) < 4 {
		distance = 2
	}
	for _, f := range fields {
		if d := editDistance(strings.ToLower(key), f.name, distance); d < distance {
			nearest, distance = f.name, d
		}
	}
	if nearest != "" {
		return "no such field; did you mean " + nearest + "?"
	}
	return "no such field; there are " + names(fields)
}

const maxEditLength = 32 // of a word; longer ones are near to nothing

// editDistance counts the bytes to insert, delete or replace to make b of a, up
// to limit.
func editDistance(a, b string, limit int) int {
	if max(len(a), len(b)) > maxEditLength || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	missing := 0 // letters of a that b lacks: each takes an edit
	for i := range len(a) {
		if strings.IndexByte(b, a[i]) < 0 {
			missing++
		}
	}
	if missing >= limit {
		return limit
	}
	var row [maxEditLength + 1]int
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], limit)
}
