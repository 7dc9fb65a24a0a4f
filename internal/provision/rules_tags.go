package provision

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxTags is what the cloud's 20 tags an instance leave beside our own two.
const maxTags = 18

var tagFields = []field{
	{"key", required, tagKey},
	{"value", required, func(c *checker, n *node) {
		c.tagText(n, 0, c.offer.tags.maxValue)
	}},
}

func tagsRule(c *checker, n *node) {
	seen := map[string]bool{}
	c.each(n, 0, maxTags, fmt.Sprintf("a list of at most %d tags {key, value}", maxTags), func(c *checker, item *node) {
		object(tagFields)(c, item)
		if key, ok := item.get("key").text(); ok {
			if seen[key] {
				c.refuse(item, "each key once")
			}
			seen[key] = true
		}
	})
}

func tagKey(c *checker, n *node) {
	key, _ := n.text()
	switch {
	case key == TagRequest || key == TagInstallation:
		c.refuse(n, "another key: we mark our instances with this one")
	case strings.HasPrefix(key, "_sys_"):
		c.refuse(n, "another key: the cloud keeps the prefix _sys_ to itself")
	default:
		c.tagText(n, c.offer.tags.minKey, c.offer.tags.maxKey)
	}
}

// tagText checks a key or value for length and characters.
func (c *checker) tagText(n *node, least, most int) {
	marks := c.offer.tags.marks
	text, ok := n.text()
	length := utf8.RuneCountInString(text)
	foreign := strings.ContainsFunc(text, func(r rune) bool {
		return !isASCIIAlphanumeric(r) && !isCJK(r) && !strings.ContainsRune(marks, r)
	})
	if !ok || foreign || length < least || length > most {
		c.refuse(n, fmt.Sprintf("%d–%d letters, digits, Chinese characters and any of %q", least, most, marks))
	}
}

func isCJK(r rune) bool { return '\u4e00' <= r && r <= '\u9fff' }
