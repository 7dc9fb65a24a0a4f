package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// buildWorker builds cmd/worker into dir and returns the program's path.
func buildWorker(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "worker")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "ddsworker/cmd/worker").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build cmd/worker: %w\n%s", err, out)
	}
	return path, nil
}

// worker is one worker process; it may be started again after it ended.
type worker struct {
	name    string
	program string
	env     []string
	log     string
	*process
}

func (w *worker) start() (err error) {
	w.process, err = startProcess(w.log, w.env, w.program)
	return err
}

// admin returns the address that the worker said last that it serves, once it has.
func (w *worker) admin() string {
	text, err := os.ReadFile(w.log)
	if err != nil {
		return ""
	}
	address := ""
	for line := range bytes.Lines(text) {
		var said struct{ Msg, Addr string }
		if json.Unmarshal(line, &said) == nil && said.Msg == "serving /livez, /readyz and /metrics" {
			address = said.Addr
		}
	}
	return address
}

// problem is a part that /readyz names.
type problem struct {
	Part  string
	Error string
	Since time.Time
}

// readyz asks the worker at an address how it is.
func readyz(ctx context.Context, address string) (ready bool, problems []problem, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return false, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Ready    bool
		Problems []problem
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return false, nil, fmt.Errorf("read /readyz: %w", err)
	}
	return answer.Ready, answer.Problems, nil
}

// lines is how many lines the worker has logged.
func (w *worker) lines() int {
	text, _ := os.ReadFile(w.log) // none yet: none logged
	return bytes.Count(text, []byte{'\n'})
}

// cpu is the processor time that the running process has used; 0 where the
// system does not tell.
func (w *worker) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	const ticks = 100 // of the kernel's interface, everywhere
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / ticks
}
