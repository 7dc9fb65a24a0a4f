package provision

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var backupFields = []field{
	{"start_time", required, backupWindow},
	{"keep_days", optional, numberIn(between(0, 732), " (days; 0 is no automatic backup)")},
	{"period", optional, matching(`^[1-7](,[1-7]){0,6}$`, `days of the week like "1,3,5"; 1 is Monday`)},
}

var window = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])$`)

// backupWindow is an hour, in UTC; it may end at midnight.
func backupWindow(c *checker, n *node) {
	text, _ := n.text()
	part := window.FindStringSubmatch(text)
	if part == nil || part[3] != nextHour(part[1]) || part[4] != part[2] || !slices.Contains(c.offer.backupMinutes, part[2]) {
		c.refuse(n, "one hour like 08:00-09:00 or 23:00-00:00 (UTC), minutes "+strings.Join(c.offer.backupMinutes, ", "))
	}
}

func nextHour(hour string) string {
	next := int(hour[0]-'0')*10 + int(hour[1]-'0') + 1
	return fmt.Sprintf("%02d", next%24)
}
