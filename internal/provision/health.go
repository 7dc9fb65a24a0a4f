package provision

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Health knows which parts of the worker are in trouble. A change is logged
// once, however often it is reported.
type Health struct {
	log   *slog.Logger
	mu    sync.Mutex
	parts map[string]*part
	// unwritten is how many writes failed and are tried again.
	unwritten int
	// unanswered is how many calls to the cloud in a row had no usable answer.
	unanswered int
}

type part struct {
	err    error
	since  time.Time
	logged time.Time // when its trouble was logged last
	told   bool      // its present trouble was logged
}

// Problem is a part in trouble.
type Problem struct {
	Part  string    `json:"part"`
	Error string    `json:"error"`
	Since time.Time `json:"since"`
}

// PartDatabase is Postgres, as Health names it, and PartWrites that it takes what is
// written: it may answer and refuse that, when it is read-only or its disk is full.
const (
	PartDatabase = "database"
	PartWrites   = "database writes"
)

// quiet is how long a part that goes up and down is not logged again.
const quiet = 10 * time.Second

// NewHealth returns a Health without problems that logs to log.
func NewHealth(log *slog.Logger) *Health {
	return &Health{log: log, parts: map[string]*part{}}
}

// Report says how a part is doing; nil means well. A cancelled context says
// nothing about a part.
func (h *Health) Report(name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.report(name, err)
}

// wrote says how a write went, and how many more are tried again from now on. As
// many write at once, they are well only when none of them is.
func (h *Health) wrote(err error, more int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unwritten += more
	if err != nil || h.unwritten == 0 {
		h.report(PartWrites, err)
	}
}

func (h *Health) report(name string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	p := h.parts[name]
	if p == nil {
		p = &part{}
		h.parts[name] = p
	}
	now := time.Now()
	if (p.err == nil) != (err == nil) {
		p.since = now
	}
	p.err = err
	switch {
	case err != nil && !p.told && now.Sub(p.logged) >= quiet:
		p.logged, p.told = now, true
		h.log.Warn("in trouble; it is tried again until it works", "part", name, "error", err)
	case err == nil && p.told:
		p.told = false
		h.log.Info("works again", "part", name)
	}
}

// Problems lists the parts in trouble, by name.
func (h *Health) Problems() []Problem {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []Problem{}
	for name, p := range h.parts {
		if p.err != nil {
			out = append(out, Problem{Part: name, Error: p.err.Error(), Since: p.since})
		}
	}
	slices.SortFunc(out, func(a, b Problem) int { return strings.Compare(a.Part, b.Part) })
	return out
}
