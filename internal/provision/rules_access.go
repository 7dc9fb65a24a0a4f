package provision

import (
	"fmt"
	"strings"
)

func portRule(c *checker, n *node) { numberIn(c.offer.port, "")(c, n) }

// passwordPresence: one that is sealed will do.
func passwordPresence(c *checker) (must bool, mustNot string) {
	return c.offer.passwordMust && !c.sealed, ""
}

func sealedPresence(c *checker) (must bool, mustNot string) {
	if c.sealed && c.clear {
		return false, "nothing beside password: give one of the two"
	}
	return false, ""
}

const (
	minPassword = 8 // characters
	maxPassword = 32
)

func passwordRule(c *checker, n *node) {
	if text, ok := n.text(); !ok || !isPassword(text, c.offer.password) {
		c.refuse(n, allowedPassword(c.offer))
	}
}

func allowedPassword(o *offer) string {
	return fmt.Sprintf("%d–%d characters, at least one upper-case and one lower-case letter, one digit and one of %s, and no others",
		minPassword, maxPassword, o.password)
}

// sealedRule knows only that it is a text: how it is sealed is the Sealer's
// business, and what it holds is checked once it is opened.
func sealedRule(c *checker, n *node) {
	if text, ok := n.text(); !ok || text == "" {
		c.refuse(n, "a password that is sealed for the workers, as text")
	}
}

// checkOpened checks a password that nobody saw before it was opened, and that
// the spec does not repeat it.
func (d Dialect) checkOpened(spec storedSpec, p Secret) error {
	o := d.offer()
	if !isPassword(p.Reveal(), o.password) {
		return fmt.Errorf("the sealed password breaks a rule: given %s; allowed: %s", redacted, allowedPassword(o))
	}
	spec.root.set("password", node{kind: stringNode, value: p.Reveal()})
	known, check := secretsOf(spec.root), checker{}
	check.repeated(spec.root, known)
	if len(check.found) > 0 {
		return check.conclude(known)
	}
	return nil
}

// repeated refuses whatever repeats the password: the password alone is sealed
// before a body is stored.
func (c *checker) repeated(n *node, known secrets) {
	if n.kind == stringNode && known.in(n.value) {
		c.refuse(n, "nothing that repeats the password")
	}
	for i := range n.members {
		m := &n.members[i]
		if isSecretName(m.key) {
			continue // the password itself, or refused for its name
		}
		c.enter(m.key)
		if known.in(m.key) {
			c.refuse(&m.value, "a name that does not repeat the password")
		}
		c.repeated(&m.value, known)
		c.leave()
	}
	for i := range n.items {
		c.enterItem(i)
		c.repeated(&n.items[i], known)
		c.leave()
	}
}

func isPassword(text, marks string) bool {
	var upper, lower, digit, mark bool
	for _, r := range text {
		switch {
		case 'A' <= r && r <= 'Z':
			upper = true
		case 'a' <= r && r <= 'z':
			lower = true
		case '0' <= r && r <= '9':
			digit = true
		case strings.ContainsRune(marks, r):
			mark = true
		default:
			return false
		}
	}
	return upper && lower && digit && mark && minPassword <= len(text) && len(text) <= maxPassword
}

// sslOption is a string in every edition: 0 is off, 1 is on (dds-api.md §2.2).
var sslOption = oneOf("0", "1")
