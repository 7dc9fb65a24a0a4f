package chaos

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"ddsworker/internal/dds/ddsfake"
)

// report is what a run of chaos shows.
type report struct {
	Config   Config
	Requests int
	Faults   map[kind]int
	ByChance map[ddsfake.Kind]int
	Took     time.Duration
	Recovery time.Duration // from the last fault until everything had ended
	evidence *evidence
	judgement
}

// print prints the table.
func (r *report) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	row("requests", r.Requests)
	for _, state := range slices.Sorted(maps.Keys(r.Ends)) {
		row("  "+state, r.Ends[state])
	}
	row("attempts", r.Attempts)
	row("create calls that the cloud saw", len(r.evidence.Calls))
	row("  that arrived after their lease", r.Late)
	row("adopted", r.Adopted)
	row("faults on purpose", sum(r.Faults))
	for _, k := range slices.Sorted(maps.Keys(r.Faults)) {
		row("  "+string(k), r.Faults[k])
	}
	row("calls gone wrong by chance", sum(r.ByChance))
	for _, k := range slices.Sorted(maps.Keys(r.ByChance)) {
		row("  "+string(k), r.ByChance[k])
	}
	row("instances that live", r.Live)
	row("duplicates", r.Duplicates)
	row("lost", r.Lost)
	row("orphans", r.Orphans)
	row("seconds to recover", fmt.Sprintf("%.1f", r.Recovery.Seconds()))
	row("seconds in all", fmt.Sprintf("%.1f", r.Took.Seconds()))
	_ = w.Flush() // where it is printed to is the caller's
}

func sum[K comparable](counts map[K]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// shown is how many requests of a failed run are told about.
const shown = 10

// explain prints the findings, and the whole history of the requests concerned.
func (r *report) explain(out io.Writer) {
	fmt.Fprintf(out, "\nFAILED with CHAOS_SEED=%d: %d findings\n", r.Config.Seed, len(r.Findings))
	var ids []string
	for n, f := range r.Findings {
		if n < 5*shown {
			fmt.Fprintf(out, "  %s: %s\n", f.RequestID, f.What)
		}
		if f.RequestID != "" && !slices.Contains(ids, f.RequestID) && len(ids) < shown {
			ids = append(ids, f.RequestID)
		}
	}
	for _, id := range ids {
		r.evidence.tell(out, id)
	}
}

func (e *evidence) tell(out io.Writer, id string) {
	h := e.Requests[id]
	if h == nil {
		fmt.Fprintf(out, "\n%s: nothing is known\n", id)
		return
	}
	fmt.Fprintf(out, "\n%s: %s, mark %s, %d refusals\n", id, h.State, h.Mark, h.Rejections)
	for _, a := range h.Attempts {
		fmt.Fprintf(out, "  attempt %d by %s at %s: %q %s %s, cloud request %q, instance %q\n", a.Number, a.Worker,
			a.IntendedAt.UTC().Format(time.StampMilli), a.Outcome, a.Class, a.Code, a.CloudRequestID, a.InstanceID)
	}
	for _, v := range h.Events {
		fmt.Fprintf(out, "  event %d: %s, %s %s %s\n", v.ID, v.Kind, v.State, v.InstanceID, v.Detail)
	}
	for _, i := range h.Instances {
		fmt.Fprintf(out, "  instance %s: adopted %v, gone %v\n", i.InstanceID, i.Adopted, i.Gone)
	}
	for _, c := range e.Calls {
		if c.Mark == h.Mark {
			fmt.Fprintf(out, "  the cloud saw create call %s at %s\n", c.RequestID, c.At.UTC().Format(time.StampMilli))
		}
	}
	for _, i := range e.Cloud {
		if markOf(i.Tags) == h.Mark {
			_, orphan := e.Orphans[i.ID]
			fmt.Fprintf(out, "  the cloud made instance %s at %s: %s, deleted %v, recorded as an orphan %v\n", i.ID,
				i.Created.Format(time.StampMilli), i.Status, i.DeletedAt != nil, orphan)
		}
	}
}

// showLogs prints the end of every log.
func (s *system) showLogs(out io.Writer) {
	logs := []string{s.nats.log}
	for _, w := range s.workers {
		logs = append(logs, w.log)
	}
	for _, path := range logs {
		fmt.Fprintf(out, "\n%s ends with:\n%s\n", path, tail(path, 15))
	}
}

// tail is the last lines of a file.
func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
