package queue

import (
	"fmt"
	"net/url"
	"strings"
)

// showURL returns the addresses without credentials. What it cannot read for
// sure it refuses, without showing it: a password with a character that should
// have been percent-encoded would otherwise end up in somebody's log.
func showURL(list string) (string, error) {
	var shown []string
	parts := strings.Split(list, ",")
	for i, text := range parts {
		text = strings.TrimSpace(text)
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		// A comma in a password cuts it in two, the first of which has no login.
		torn := err == nil && u.User == nil && i+1 < len(parts) && strings.Contains(parts[i+1], "@") && !strings.Contains(parts[i+1], "://")
		if err != nil || u.Hostname() == "" || torn || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
			return "", fmt.Errorf("address %d in NATS_URL cannot be read; "+
				"it should look like nats://user:password@host:4222, with special characters of the password percent-encoded", i+1)
		}
		shown = append(shown, u.Scheme+"://"+u.Host)
	}
	return strings.Join(shown, ","), nil
}
