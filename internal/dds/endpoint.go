package dds

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// parseEndpoint reads the base address that setting gives. Plain http would show
// the token and the password to everybody on the way, so it is only for loopback
// unless it is allowed.
func parseEndpoint(setting, endpoint, region string, allowPlainHTTP bool) (*url.URL, error) {
	if strings.Contains(endpoint, "{region}") && region == "" {
		return nil, fmt.Errorf("%s has {region} in it, but there is no region: set OS_REGION_NAME", setting)
	}
	u, err := url.Parse(strings.ReplaceAll(endpoint, "{region}", region))
	if err != nil {
		var detail *url.Error // its text repeats the address, which may hold a password
		if errors.As(err, &detail) {
			err = detail.Err
		}
		return nil, fmt.Errorf("%s is not a URL: %w", setting, err)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, fmt.Errorf("%s must be a URL like https://host, with a host name", setting)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%s must not hold a user, a query or a fragment; host is %s", setting, u.Host)
	case u.Scheme == "http" && !allowPlainHTTP && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("%s is http://%s, where everybody on the way can read tokens and passwords: "+
			"use https, or set DDS_ALLOW_HTTP=true", setting, u.Host)
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
