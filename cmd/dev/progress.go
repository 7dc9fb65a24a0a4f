package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
)

// progress shows how far requests have come.
type progress interface {
	begin(request string)
	event(provision.Event)
	trouble(request string, err error) // there is nothing to be seen for now
	end()
}

// newProgress shows bars on a terminal and lines elsewhere.
func newProgress(out io.Writer) progress {
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &bars{screen: mpb.New(mpb.WithOutput(f)), rows: map[string]*row{}}
	}
	return &lines{out: out, began: time.Now()}
}

// sighting is one thing that Watch yielded.
type sighting struct {
	request string
	event   provision.Event
	err     error
}

// follow shows the requests' events until all have ended or ctx has, and returns
// the last one of each.
func follow(ctx context.Context, js jetstream.JetStream, requests []queue.Request, p progress) map[string]provision.Event {
	seen := make(chan sighting)
	var watchers sync.WaitGroup
	for _, r := range requests {
		p.begin(r.ID)
		watchers.Go(func() {
			for event, err := range queue.Watch(ctx, js, r.ID) {
				seen <- sighting{r.ID, event, err}
				if err == nil && event.State.Ended() {
					return
				}
			}
		})
	}
	go func() { watchers.Wait(); close(seen) }()
	last := map[string]provision.Event{}
	for s := range seen {
		if s.err != nil {
			p.trouble(s.request, s.err)
			continue
		}
		last[s.request] = s.event
		p.event(s.event)
	}
	p.end()
	return last
}

// lines writes one line an event.
type lines struct {
	out   io.Writer
	began time.Time
}

func (l *lines) begin(string) {}

func (l *lines) event(e provision.Event) {
	kind, percent := e.Kind, ""
	if kind == string(e.State) {
		kind = ""
	}
	if e.Progress != nil {
		percent = fmt.Sprintf("%d%%", *e.Progress)
	}
	l.line(e.RequestID, fmt.Sprintf("%-9s %-8s %4s  %s", e.State, kind, percent, detail(e)))
}

func (l *lines) trouble(request string, err error) { l.line(request, err.Error()) }

func (l *lines) line(request, text string) {
	line := fmt.Sprintf("%5.1f s  %-16s  %s", time.Since(l.began).Seconds(), request, text)
	fmt.Fprintln(l.out, strings.TrimRight(line, " "))
}

func (l *lines) end() {}

// detail is what else an event has to say.
func detail(e provision.Event) string {
	if e.Error != nil {
		return e.Error.Message
	}
	return e.InstanceID
}

// bars keeps one bar a request on the screen.
type bars struct {
	screen *mpb.Progress
	rows   map[string]*row
}

// row is the bar of one request; the screen reads it while events come in.
type row struct {
	bar   *mpb.Bar
	state atomic.Pointer[string]
	text  atomic.Pointer[string]
}

func (b *bars) begin(request string) {
	r := new(row)
	b.rows[request] = r
	read := func(from *atomic.Pointer[string]) decor.DecorFunc {
		return func(decor.Statistics) string { return *cmp.Or(from.Load(), new(string)) }
	}
	r.bar = b.screen.AddBar(100, mpb.BarWidth(24),
		mpb.PrependDecorators(
			decor.Name(request, decor.WC{W: 17, C: decor.DindentRight}),
			decor.Any(read(&r.state), decor.WC{W: 10, C: decor.DindentRight})),
		mpb.AppendDecorators(
			decor.Percentage(decor.WC{W: 6}),
			decor.Any(read(&r.text), decor.WC{W: 2})))
}

func (b *bars) event(e provision.Event) {
	r := b.rows[e.RequestID]
	state, text := string(e.State), "  "+detail(e)
	r.state.Store(&state)
	r.text.Store(&text)
	switch {
	case e.State == provision.Ready:
		r.bar.SetCurrent(100)
	case e.State.Ended():
		r.bar.Abort(false)
	case e.Progress != nil:
		r.bar.SetCurrent(int64(min(*e.Progress, 99))) // full is ready
	}
}

func (b *bars) trouble(request string, err error) {
	text := "  " + err.Error()
	b.rows[request].text.Store(&text)
}

func (b *bars) end() {
	for _, r := range b.rows {
		r.bar.Abort(false) // nothing, if it is full
	}
	b.screen.Wait()
}
