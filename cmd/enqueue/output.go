package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"

	"ddsworker/internal/provision"
)

// result is what is known of a request, as -o json prints it.
type result struct {
	ID         string                `json:"id,omitempty"`
	Name       string                `json:"name,omitempty"`
	Sequence   uint64                `json:"sequence,omitempty"` // in the stream of requests
	State      provision.State       `json:"state,omitempty"`
	Progress   *int                  `json:"progress,omitempty"` // percent
	InstanceID string                `json:"instance_id,omitempty"`
	JobID      string                `json:"job_id,omitempty"`
	Error      *provision.EventError `json:"error,omitempty"`
}

// output writes what programs read to standard output.
type output struct {
	json   bool
	mu     sync.Mutex
	stdout io.Writer
	err    error // the first that writing met
}

// published prints the id of a stored request; in JSON a whole object, unless
// there will be one at the end of waiting.
func (o *output) published(r request, receipt receipt, waiting bool) {
	switch {
	case o.json && !waiting:
		o.result(publishedResult(r, receipt))
	case !o.json && receipt.err == nil:
		o.line([]byte(r.ID))
	}
}

// unwaited prints in JSON what published kept for later.
func (o *output) unwaited(requests []request, receipts []receipt, waiting bool) {
	if !o.json || !waiting {
		return
	}
	for i, r := range requests {
		o.result(publishedResult(r, receipts[i]))
	}
}

func publishedResult(r request, receipt receipt) result {
	out := result{ID: r.ID, Name: r.name, Sequence: receipt.sequence}
	if receipt.err != nil {
		out.Error = &provision.EventError{Message: receipt.err.Error()}
	}
	return out
}

// checked prints in JSON what a dry run found good.
func (o *output) checked(r request) {
	if o.json {
		o.result(result{Name: r.name})
	}
}

// waited prints in JSON how a request ended, or how far it came.
func (o *output) waited(r result) {
	if o.json {
		o.result(r)
	}
}

func (o *output) result(r result) {
	line, err := json.Marshal(r)
	if err == nil {
		o.line(line)
	}
}

func (o *output) line(text []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.stdout.Write(append(text, '\n')); err != nil && o.err == nil {
		o.err = fmt.Errorf("write to standard output: %w; what standard error tells to be stored is stored all the same", err)
	}
}

// describe tells the state of a request in one line, for people.
func describe(r result) string {
	text := string(r.State)
	if r.State == provision.Building && r.Progress != nil {
		text += fmt.Sprintf(" %d%%", *r.Progress)
	}
	if r.InstanceID != "" {
		text += ", instance " + r.InstanceID
	}
	if r.Error != nil {
		text += ": " + strings.TrimPrefix(r.Error.Code+" ", " ") + r.Error.Message
	}
	return oneLine(strings.TrimPrefix(text, ": ")) // of one that is lost only the reason is known
}

// oneLine replaces what a terminal would obey: the cloud's words are foreign.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}
