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
}

type part struct {
	err    error
	since  time.Time
	logged time.Time
}

// Problem is a part in trouble.
type Problem struct {
	Part  string    `json:"part"`
	Error string    `json:"error"`
	Since time.Time `json:"since"`
}

// quiet is how long a part that goes up and down is not logged again.
const quiet = 10 * time.Second

// NewHealth returns a Health without problems that logs to log.
func NewHealth(log *slog.Logger) *Health {
	return &Health{log: log, parts: map[string]*part{}}
}

// Report says how a part is doing; nil means well. A cancelled context says
// nothing about a part.
func (h *Health) Report(name string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.parts[name]
	if p == nil {
		p = &part{}
		h.parts[name] = p
	}
	changed := (p.err == nil) != (err == nil)
	p.err = err
	if !changed {
		return
	}
	p.since = time.Now()
	if p.since.Sub(p.logged) < quiet && err != nil {
		return
	}
	level, text := slog.LevelInfo, "works again"
	if err != nil {
		p.logged = p.since
		level, text = slog.LevelWarn, "in trouble; it is tried again until it works"
	}
	h.log.Log(context.Background(), level, text, "part", name, "error", err)
}

// reportCloud says how calls to the cloud are doing: in trouble if they cannot
// even be sent. What the cloud answers is the request's matter.
func (h *Health) reportCloud(err error) {
	if errors.Is(err, errNoSlot) {
		return // it says nothing about the cloud
	}
	if err != nil && AsCloudError(err).Class != ClassNotSent {
		err = nil
	}
	h.Report("calls to the cloud", err)
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
