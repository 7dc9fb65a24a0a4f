package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"ddsworker/internal/localenv"
)

// endLimit is how long a killed process may take to be gone.
const endLimit = 20 * time.Second

// process is a child that can be killed, paused and asked for. None outlives us.
type process struct {
	cmd     *exec.Cmd
	exited  chan struct{} // closed once it was waited for
	release func() error  // of the guard
	ending  sync.Once
	endErr  error
}

// startProcess starts a program that writes to the file at log.
func startProcess(log string, environment []string, program string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = environment, out, out
	// A group of its own, so that a Ctrl-C reaches us and we end it in good order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // how it ended is asked of ProcessState
	}()
	if p.release, err = localenv.Guard(`kill -KILL "$1"`, strconv.Itoa(cmd.Process.Pid)); err != nil {
		p.release = func() error { return nil }
		return nil, errors.Join(err, p.kill())
	}
	return p, nil
}

func (p *process) signal(sig syscall.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// pause stops it where it is; resume lets it go on.
func (p *process) pause() error  { return p.signal(syscall.SIGSTOP) }
func (p *process) resume() error { return p.signal(syscall.SIGCONT) }

// kill ends it at once and waits until it is gone.
func (p *process) kill() error { return p.end(syscall.SIGKILL) }

func (p *process) end(sig syscall.Signal) error {
	p.ending.Do(func() {
		p.endErr = p.signal(sig)
		select {
		case <-p.exited:
		case <-time.After(endLimit):
			p.endErr = errors.Join(fmt.Errorf("process %d did not end within %v", p.cmd.Process.Pid, endLimit),
				p.signal(syscall.SIGKILL))
			<-p.exited
		}
		p.endErr = errors.Join(p.endErr, p.release())
	})
	return p.endErr
}

// alive reports whether it has not ended.
func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}
