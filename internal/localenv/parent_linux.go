package localenv

import "syscall"

// dieWithParent asks the kernel to stop the process at once when the thread
// that started it ends. It closes the gap until the guard runs.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
