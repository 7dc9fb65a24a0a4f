package localenv

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// Guard starts a shell that runs script, with args as $1, $2 and so on, if this
// process ends before release was called, even if it is killed. It is how
// servers outside of this process are kept from outliving it. release waits
// until the shell is gone.
//
// The shell reads from a pipe whose other end only this process holds: a line
// is the release, the end of the file means that we are dead.
func Guard(script string, args ...string) (release func() error, err error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", "read -r _ && exit 0\n" + script, "guard"}, args...)...)
	// Its own session, so that a Ctrl-C or a closed terminal does not reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make the pipe of a guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a guard: %w", err)
	}
	return func() error {
		_, err := io.WriteString(pipe, "\n")
		return errors.Join(err, pipe.Close(), cmd.Wait())
	}, nil
}
