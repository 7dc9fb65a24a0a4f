package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"ddsworker/internal/localenv"
)

// stopLimit bounds the end of a process that was told to stop.
const stopLimit = 40 * time.Second

// Process is a program that runs, with its output in a file of the lab.
type Process struct {
	Started time.Time // right before it was started

	name    string
	log     string
	cmd     *exec.Cmd
	release func() error // of the guard
	ended   chan struct{}
	err     error // how it ended, once it has
}

// start runs a program until Stop. If we are killed, so is it.
func start(dir, name string, env []string, path string, args ...string) (*Process, error) {
	p := &Process{name: name, log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	// To a file, because a pipe that nobody reads would stop it.
	log, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close()
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir = dir
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir()}, env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C stops us, and we then stop it
	p.Started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	if p.release, err = localenv.Guard(`kill -KILL "$1" 2>/dev/null`, strconv.Itoa(p.Pid())); err != nil {
		_ = p.cmd.Process.Kill()
		<-p.ended
		return nil, err
	}
	return p, nil
}

// Pid is the id of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended is closed once the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Wait waits until the process ends by itself.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.ended:
		return p.finish()
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), p.Stop())
	}
}

// Stop tells the process to stop and waits until it has.
func (p *Process) Stop() error {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Kill} {
		if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop %s: %w", p.name, err)
		}
		select {
		case <-p.ended:
			return p.finish()
		case <-time.After(stopLimit):
		}
	}
	return fmt.Errorf("stop %s: process %d does not end", p.name, p.Pid())
}

// finish says how it ended, with the end of its log.
func (p *Process) finish() error {
	var err error
	if p.release != nil {
		err, p.release = p.release(), nil
	}
	if p.err == nil {
		return err
	}
	return errors.Join(fmt.Errorf("%s: %w; the end of its log:\n%s", p.name, p.err, p.LogTail()), err)
}

// LogTail is the end of what it printed.
func (p *Process) LogTail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// CPU is the time that the process took, once it has ended.
func (p *Process) CPU() time.Duration {
	<-p.ended
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// PeakMemory is the most that was resident so far, in bytes; 0 where that cannot
// be read.
func (p *Process) PeakMemory() int64 { return peakMemory(p.Pid()) }
