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
	for i, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
			return "", fmt.Errorf("address %d in NATS_URL cannot be read; "+
				"it should look like nats://user:password@host:4222, with special characters of the password percent-encoded", i+1)
		}
		shown = append(shown, u.Scheme+"://"+u.Host)
	}
	return strings.Join(shown, ","), nil
}
