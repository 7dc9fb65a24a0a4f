package provision

import (
	"fmt"
	"strings"
)

func portRule(c *checker, n *node) { numberIn(c.offer.port, "")(c, n) }

func passwordPresence(c *checker) (must bool, mustNot string) { return c.offer.passwordMust, "" }

const (
	minPassword = 8 // characters
	maxPassword = 32
)

func passwordRule(c *checker, n *node) {
	if text, ok := n.text(); !ok || !isPassword(text, c.offer.password) {
		c.refuse(n, fmt.Sprintf("%d–%d characters, at least one upper-case and one lower-case letter, one digit and one of %s, and no others",
			minPassword, maxPassword, c.offer.password))
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
