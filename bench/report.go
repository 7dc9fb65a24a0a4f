package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/bench/chart"
)

// Report is what a case brought.
type Report struct {
	Case    string            `json:"case"`
	At      time.Time         `json:"at"`
	Machine map[string]string `json:"machine"`
	Results []Result          `json:"results"`
	Tries   []Result          `json:"tries,omitempty"` // tunings of the peers
	Figures []Figure          `json:"figures,omitempty"`
}

// Figure is a number with its name, in the order in which they are told.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
}

func (b *bench) report(ctx context.Context, name string) (*Report, error) {
	r := &Report{Case: name, At: time.Now().UTC().Truncate(time.Second), Machine: map[string]string{
		"os": runtime.GOOS + "/" + runtime.GOARCH, "cpu": cpuName(), "cpus": fmt.Sprint(runtime.NumCPU()), "go": runtime.Version(),
	}}
	conn, err := pgx.Connect(ctx, b.lab.DatabaseURL(""))
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, setting := range []string{"server_version", "fsync", "synchronous_commit", "shared_buffers"} {
		var value string
		if err := conn.QueryRow(ctx, `select current_setting($1)`, setting).Scan(&value); err != nil {
			return nil, err
		}
		r.Machine["postgres "+setting] = value
	}
	fsyncs, err := b.lab.Fsyncs(200)
	if err != nil {
		return nil, err
	}
	r.figure("fsync p50", quantile(fsyncs, 0.5), "ms")
	r.figure("fsync p99", quantile(fsyncs, 0.99), "ms")
	return r, nil
}

func (r *Report) figure(name string, value float64, unit string) {
	r.Figures = append(r.Figures, Figure{name, value, unit})
}

// best is the fastest of the contestants with one of the names.
func (r *Report) best(names ...string) (best Result) {
	for _, result := range r.Results {
		if slices.Contains(names, result.Name) && result.RequestsPerSecond > best.RequestsPerSecond {
			best = result
		}
	}
	return best
}

// compare tells ours by the floor and by the better of the peers.
func (r *Report) compare() {
	ours, peers := r.best("ours"), r.best("plain", "river")
	var floors []float64
	for _, result := range r.Results {
		if result.Name == "floor" {
			floors = append(floors, result.CreatesPerSecond)
		}
	}
	floor := 0.0
	for _, rate := range floors {
		floor += rate / float64(len(floors))
	}
	r.figure("floor, mean", floor, "/s")
	r.figure("floor, spread", (slices.Max(floors)-slices.Min(floors))/floor, "")
	r.figure("ours by the floor, requests", ours.RequestsPerSecond/floor, "")
	r.figure("ours by the floor, creates", ours.CreatesPerSecond/floor, "")
	if peers.RequestsPerSecond > 0 {
		r.figure("ours by "+peers.Name+", requests", ours.RequestsPerSecond/peers.RequestsPerSecond, "")
		r.figure("ours by "+peers.Name+", creates", ours.CreatesPerSecond/peers.CreatesPerSecond, "")
	}
}

// write prints the report, and writes its JSON and its plot.
func (r *Report) write(dir, unit string, value func(Result) float64) error {
	r.print()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, r.Case)
	if err := os.WriteFile(path+".json", append(text, '\n'), 0o644); err != nil {
		return err
	}
	var bars []chart.Bar
	for _, result := range r.Results {
		bars = append(bars, chart.Bar{Name: result.Name, Value: value(result)})
	}
	if err := os.WriteFile(path+".svg", chart.Bars(r.Case+": "+unit, bars), 0o644); err != nil {
		return err
	}
	say("written: %s.json, %s.svg", path, path)
	return nil
}

func (r *Report) print() {
	for _, name := range sortedKeys(r.Machine) {
		fmt.Printf("%s: %s\n", name, r.Machine[name])
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\n\trequests\tprocs\trequests/s\tcreates/s\tworker µs\tPostgres µs\tNATS µs\tcloud µs\tall µs\tcalls\tcommits\tpeak MiB\tdelay p50 ms\tp99 ms\t\n")
	for _, v := range r.Results {
		fmt.Fprintf(w, "%s\t%d\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t\n", v.Name, v.Requests, v.Processes, v.RequestsPerSecond,
			v.CreatesPerSecond, v.WorkerCPU, v.PostgresCPU, v.NATSCPU, v.CloudCPU, v.WorkerCPU+v.PostgresCPU+v.NATSCPU+v.CloudCPU, v.Calls, v.Commits, float64(v.PeakMemory)/(1<<20), v.DetectionP50, v.DetectionP99)
	}
	_ = w.Flush()
	for _, v := range r.Results {
		fmt.Printf("%s: %s; calls %s\n", v.Name, cmp.Or(v.Settings, "-"), callsOf(v))
	}
	for _, f := range r.Figures {
		fmt.Printf("%s: %.3g %s\n", f.Name, f.Value, f.Unit)
	}
}

func callsOf(r Result) string {
	var list []string
	for _, kind := range sortedKeys(r.CallsByKind) {
		list = append(list, fmt.Sprintf("%s %.3f", kind, r.CallsByKind[kind]))
	}
	return strings.Join(list, ", ")
}

func cpuName() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
