//go:build unix && !linux

package localenv

import "syscall"

// dieWithParent does nothing: only Linux offers it. The guard has to suffice.
func dieWithParent(*syscall.SysProcAttr) {}
