package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/PID/stat: USER_HZ is 100 on every Linux.
const tick = 10 * time.Millisecond

// stat is what /proc/PID/stat tells.
type stat struct {
	parent          int
	own, ofDeadOnes time.Duration // CPU time of the process, and of its children that were waited for
}

func readStat(pid int) (s stat, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, false
	}
	// The second field is the name in parentheses, which may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 15 {
		return s, false
	}
	number := func(n int) int64 { v, _ := strconv.ParseInt(fields[n], 10, 64); return v }
	s.parent = int(number(1))
	s.own = time.Duration(number(11)+number(12)) * tick
	s.ofDeadOnes = time.Duration(number(13)+number(14)) * tick
	return s, true
}

// cpuOf is the CPU time of a process and all its children, the ended ones too.
func cpuOf(pid int) time.Duration {
	s, ok := readStat(pid)
	if !ok {
		return 0
	}
	total := s.own + s.ofDeadOnes
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		child, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if c, ok := readStat(child); ok && c.parent == pid {
			total += c.own
		}
	}
	return total
}

// parentOf is the parent of a process, or 0.
func parentOf(pid int) int {
	s, _ := readStat(pid)
	return s.parent
}

func peakMemory(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}
