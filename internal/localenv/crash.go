package localenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What tests do to a Postgres server. They are not safe for use by several
// goroutines at once.

// Kill ends every process of the server at once, as a crash of its machine does.
// Restart starts it again on its data.
func (p *Postgres) Kill() error {
	// Stopped first, so that it starts no further process.
	_ = p.process.Signal(syscall.SIGSTOP)
	all := append([]int{p.process.Pid}, children(p.process.Pid)...)
	err := signalAll(all, syscall.SIGKILL)
	select {
	case <-p.exited:
	case <-time.After(startLimit):
		return errors.Join(err, fmt.Errorf("kill Postgres: process %d does not end", p.process.Pid))
	}
	return errors.Join(err, waitEnded(all[1:]), p.unguard())
}

// Shutdown ends the server in good order and breaks its connections off.
func (p *Postgres) Shutdown() error { return p.halt() }

// Restart starts a server again that was killed or shut down, on the data it
// has, and returns once it answers queries. port 0 is the one that it had.
func (p *Postgres) Restart(ctx context.Context, port int) error {
	if port != 0 {
		p.port = port
	}
	return p.serve(ctx)
}

// Pause stops every process of the server where it is, and resume lets them go
// on. They also go on if this process ends.
func (p *Postgres) Pause() (resume func() error, err error) {
	if err := p.process.Signal(syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("pause Postgres: %w", err)
	}
	all := append([]int{p.process.Pid}, children(p.process.Pid)...)
	release, err := Guard(`kill -CONT "$@"`, texts(all)...)
	if err == nil {
		err = signalAll(all, syscall.SIGSTOP)
	} else {
		release = func() error { return nil }
	}
	resume = func() error { return errors.Join(signalAll(all, syscall.SIGCONT), release()) }
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pause Postgres: %w", err), resume())
	}
	return resume, nil
}

// Port is the one that it listens on.
func (p *Postgres) Port() int { return p.port }

func (p *Postgres) unguard() error {
	if p.release == nil {
		return nil
	}
	release := p.release
	p.release = nil
	return release()
}

// signalAll signals the processes that are still there.
func signalAll(pids []int, sig syscall.Signal) error {
	var errs []error
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("signal process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// waitEnded waits until none of the processes runs any more.
func waitEnded(pids []int) error {
	late := time.After(startLimit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, pid := range pids {
		for running(pid) {
			select {
			case <-late:
				return fmt.Errorf("process %d does not end", pid)
			case <-tick.C:
			}
		}
	}
	return nil
}

// running reports whether the process is there and no zombie, which one that
// nobody waits for is for ever.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return runtime.GOOS != "linux"
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return len(fields) == 0 || fields[0] != "Z"
}

// children lists the processes that pid has started.
func children(pid int) (found []int) {
	add := func(child, parent string) {
		if id, err := strconv.Atoi(child); err == nil && parent == strconv.Itoa(pid) {
			found = append(found, id)
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil { // not Linux
		out, _ := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
		for line := range strings.Lines(string(out)) {
			if f := strings.Fields(line); len(f) == 2 {
				add(f[0], f[1])
			}
		}
		return found
	}
	for _, entry := range entries {
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // no process, or one that has just gone
		}
		// pid (name) state ppid …, and the name may hold anything.
		if f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])); len(f) > 1 {
			add(entry.Name(), f[1])
		}
	}
	return found
}

func texts(numbers []int) []string {
	out := make([]string, len(numbers))
	for i, n := range numbers {
		out[i] = strconv.Itoa(n)
	}
	return out
}
