package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"ddsworker/internal/provision"
)

const maxStatus = 40 // characters beside a bar

// screen shows people how requests are doing: with bars on a terminal that has
// room for them, and otherwise with a line for each change.
type screen struct {
	out  io.Writer
	rows []*row

	mu       sync.Mutex
	bars     *mpb.Progress // nil: lines
	troubles string        // the last that was shown
}

// row is the place of one request.
type row struct {
	label string
	bar   *mpb.Bar // nil: lines

	mu     sync.Mutex
	status string
}

func (r *row) read() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// swap sets the status and returns whether it is another one.
func (r *row) swap(status string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := r.status != status
	r.status = status
	return changed
}

// start begins to show the requests.
func (s *screen) start(all []tracked) {
	drawn := len(all) < height(s.out)
	if drawn {
		s.draw()
	}
	for _, t := range all {
		s.add(t)
	}
	if !drawn {
		fmt.Fprintln(s, "waiting until every request has ended")
	}
}

// height is that of a terminal in lines, or 0.
func height(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, height, err := term.GetSize(int(file.Fd()))
	if err != nil || width == 0 {
		return 0
	}
	return height
}

// draw makes bars of the rows that are added from now on.
func (s *screen) draw() {
	s.bars = mpb.New(mpb.WithOutput(s.out), mpb.WithAutoRefresh())
}

func (s *screen) add(t tracked) {
	r := &row{label: t.id, status: "waiting for a worker"}
	if t.name != "" {
		r.label = t.name + " (" + t.id + ")"
	}
	s.rows = append(s.rows, r)
	if s.bars == nil {
		return
	}
	short := t.name
	if short == "" {
		short = t.id
	}
	r.bar = s.bars.AddBar(100,
		mpb.PrependDecorators(decor.Name(short, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(
			decor.Elapsed(decor.ET_STYLE_GO, decor.WCSyncSpace),
			decor.Any(func(decor.Statistics) string { return "  " + cut(r.read(), maxStatus) }, decor.WCSyncSpaceR)))
}

// show tells how far a request is.
func (s *screen) show(i int, now result) {
	r := s.rows[i]
	status := describe(now)
	changed := r.swap(status)
	switch {
	case r.bar != nil:
		if now.Progress != nil && now.State == provision.Building {
			r.bar.SetCurrent(int64(min(*now.Progress, 99))) // the end is for finish to show
		}
	case changed && !now.State.Ended():
		fmt.Fprintf(s, "%s: %s\n", r.label, status)
	}
}

// finish tells how a request ended.
func (s *screen) finish(i int, end result) {
	r := s.rows[i]
	if r.bar != nil {
		r.bar.Abort(true)
	}
	fmt.Fprintf(s, "%s: %s\n", r.label, describe(end))
}

// trouble tells why there are no events for now, once for all requests that
// suffer from the same.
func (s *screen) trouble(err error) {
	text := oneLine(err.Error())
	s.mu.Lock()
	known := s.troubles == text
	s.troubles = text
	s.mu.Unlock()
	if !known {
		fmt.Fprintf(s, "no events for now: %s; trying again\n", text)
	}
}

// silent tells why nothing may be heard of a request.
func (s *screen) silent(i int, why whereabouts) {
	fmt.Fprintf(s, "%s: nothing is known of it so far: %s\n", s.rows[i].label, why)
}

// stop ends the bars; what is written afterwards goes below.
func (s *screen) stop() {
	if s.bars == nil {
		return
	}
	for _, r := range s.rows {
		r.bar.Abort(false)
	}
	s.bars.Wait()
}

// Write writes whole lines, above the bars if there are any.
func (s *screen) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bars != nil {
		if n, err := s.bars.Write(lines); err == nil {
			return n, nil // otherwise the bars have ended
		}
	}
	return s.out.Write(lines)
}

// cut shortens text to limit characters.
func cut(text string, limit int) string {
	if r := []rune(text); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return text
}
