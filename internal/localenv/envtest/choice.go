package envtest

import "fmt"

// source is where a server comes from.
type source string

const (
	fromURL       source = "the given address"
	fromContainer source = "a container"
	fromLocal     source = "this machine"
)

// choose picks the source of a server, and says why. mode is the value of
// ENVTEST, given that of the variable urlVar. probe tells why there can be no
// container; it is asked only if the answer matters, and forced says that
// nothing else will do, so that a slow pull is no reason against it.
func choose(mode, urlVar, given string, probe func(forced bool) error) (from source, why string, err error) {
	switch mode {
	case "local":
		return fromLocal, "ENVTEST=local", nil
	case "container":
		if err := probe(true); err != nil {
			return "", "", fmt.Errorf("ENVTEST=container, but %w", err)
		}
		return fromContainer, "ENVTEST=container", nil
	case "":
		if given != "" {
			return fromURL, urlVar + " is set", nil
		}
		if err := probe(false); err != nil {
			return fromLocal, err.Error(), nil
		}
		return fromContainer, "Docker answers and has the image", nil
	default:
		return "", "", fmt.Errorf("ENVTEST=%s is unknown; set it to container or local, or unset it", mode)
	}
}
