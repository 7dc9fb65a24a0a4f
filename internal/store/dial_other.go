//go:build !linux

package store

import "syscall"

// giveUp leaves it to the system how long it repeats what nobody acknowledges.
func giveUp(string, string, syscall.RawConn) error { return nil }
