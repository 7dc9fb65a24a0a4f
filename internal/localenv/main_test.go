package localenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// victimVar makes the test binary a process that starts both servers, says so
// and waits to be killed.
const victimVar = "LOCALENV_VICTIM"

func TestMain(m *testing.M) {
	if os.Getenv(victimVar) != "" {
		victim()
	}
	os.Exit(m.Run())
}

func victim() {
	p, err := StartPostgres(context.Background(), Options{Fast: true})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	n, err := StartNATS(Options{})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(p.dir)
	fmt.Println(n.dir)
	select {}
}

// descendants returns the living processes below parent.
func descendants(t *testing.T, parent int) []int {
	t.Helper()
	children := map[int][]int{}
	for pid, ppid := range processes(t) {
		children[ppid] = append(children[ppid], pid)
	}
	var found []int
	for queue := children[parent]; len(queue) > 0; queue = queue[1:] {
		found = append(found, queue[0])
		queue = append(queue, children[queue[0]]...)
	}
	return found
}

// processes maps every living process to its parent. One that has ended and was
// not waited for counts as gone: an orphan's new parent may never do that.
func processes(t *testing.T) map[int]int {
	t.Helper()
	found := map[int]int{}
	add := func(pid, state, ppid string) {
		id, errID := strconv.Atoi(pid)
		parent, errParent := strconv.Atoi(ppid)
		if errID == nil && errParent == nil && !strings.HasPrefix(state, "Z") {
			found[id] = parent
		}
	}
	if runtime.GOOS != "linux" {
		out, err := exec.Command("ps", "-A", "-o", "pid=,stat=,ppid=").Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if f := strings.Fields(line); len(f) == 3 {
				add(f[0], f[1], f[2])
			}
		}
		return found
	}
	entries, err := os.ReadDir("/proc") // A small Debian has no ps.
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // No process, or one that has just gone.
		}
		// pid (name) state ppid …, and the name may hold anything.
		if f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])); len(f) > 2 {
			add(entry.Name(), f[0], f[1])
		}
	}
	return found
}

// waitGone fails the test unless all the processes and paths are gone soon.
func waitGone(t *testing.T, limit time.Duration, pids []int, paths ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var left []string
		alive := processes(t)
		for _, pid := range pids {
			if _, ok := alive[pid]; ok {
				left = append(left, fmt.Sprint("process ", pid))
			}
		}
		for _, path := range paths {
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				left = append(left, path)
			}
		}
		if len(left) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("still there after %v: %v", limit, left)
		case <-tick.C:
		}
	}
}
