package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
)

// MaxWatched is how many requests one Watch should follow: each makes one consumer, and
// a server compares each of its subjects with each other one.
const MaxWatched = 500

// Watch yields the events of requests in their order, each once, from the first that
// the stream still has, and then those to come. It ends with ctx or when the caller
// stops. All of the requests share one consumer, as a stream takes a limited number.
//
// A pair with an error is no event: it says, once, why there are none for now.
// Watch keeps trying meanwhile.
func Watch(ctx context.Context, js jetstream.JetStream, requestIDs ...string) iter.Seq2[provision.Event, error] {
	return func(yield func(provision.Event, error) bool) {
		w := &watcher{js: js, last: map[string]int64{}, yield: yield, pause: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(250*time.Millisecond),
			backoff.WithMaxInterval(5*time.Second),
			backoff.WithMaxElapsedTime(0))}
		for _, id := range requestIDs {
			w.subjects = append(w.subjects, EventSubject(id))
			w.last[id] = 0
		}
		for {
			err := w.follow(ctx)
			if ctx.Err() != nil || errors.Is(err, errStopped) {
				return
			}
			if !w.troubled && !yield(provision.Event{}, err) {
				return
			}
			w.troubled = true
			select {
			case <-ctx.Done():
				return
			case <-time.After(w.pause.NextBackOff()):
			}
		}
	}
}

var errStopped = errors.New("the caller stopped")

// watcher is one Watch.
type watcher struct {
	js       jetstream.JetStream
	subjects []string
	yield    func(provision.Event, error) bool
	pause    *backoff.ExponentialBackOff
	last     map[string]int64 // id of the last event that was yielded of each request
	troubled bool             // an error was yielded, and no event since
}

// follow reads the subjects from their beginning through a consumer of its own,
// leaves out what was yielded before, and returns when that consumer is lost.
// A request has few events, so reading them again costs little, and it works
// for a stream that was made anew as well.
func (w *watcher) follow(ctx context.Context) error {
	reader, err := readEvents(ctx, w.js, w.subjects...)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("stream %s is missing: run `worker migrate` or start a worker", EventsStream)
	}
	if err != nil {
		return fmt.Errorf("watch stream %s: %w", EventsStream, err)
	}
	defer reader.close()
	for {
		msg, err := reader.next(ctx)
		if err != nil {
			return fmt.Errorf("watch stream %s: %w", EventsStream, err)
		}
		if !w.hand(msg) {
			return errStopped
		}
	}
}

// hand yields a message unless it was yielded before, and tells whether to go on.
func (w *watcher) hand(msg jetstream.Msg) bool {
	e, err := ParseEvent(msg.Headers(), msg.Data())
	last, ours := w.last[e.RequestID]
	if err != nil || !ours || e.ID <= last {
		return true // nobody's, or known
	}
	w.last[e.RequestID], w.troubled = e.ID, false
	w.pause.Reset()
	return w.yield(e, nil)
}
