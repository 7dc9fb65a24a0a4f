//go:build !linux

package chaos

import "errors"

// smallDisk needs Linux.
func smallDisk(string, int64) (release func() error, err error) {
	return nil, errors.New("a disk of its own for NATS needs Linux")
}
