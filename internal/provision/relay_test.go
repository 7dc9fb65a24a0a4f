package provision_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ddsworker/internal/provision"
)

// outbox is a RelayStore with two batches, of events 3 and 7, and 5 and 8.
type outbox struct {
	provision.RelayStore
	noted provision.Published
}

func (o *outbox) Unpublished(context.Context, int) ([]provision.Event, uint64, error) {
	return []provision.Event{{ID: 3, Batch: 1}, {ID: 7, Batch: 1}, {ID: 5, Batch: 2}, {ID: 8, Batch: 2}}, 10, nil
}

func (o *outbox) MarkPublished(_ context.Context, p provision.Published) error {
	o.noted = p
	return nil
}

// stream is an EventPublisher that answers the same to everything.
type stream struct {
	answer provision.Published
	err    error
}

func (s stream) Publish(context.Context, uint64, []provision.Event) (provision.Published, error) {
	return s.answer, s.err
}

// A batch leaves the outbox as a whole only when the stream has all of it; of others what
// the stream has is noted by itself, also what nobody has read here.
func TestTheRelayNotesWholeBatchesAndTheRestByID(t *testing.T) {
	full := errors.New("the stream is full")
	for name, c := range map[string]struct {
		answer       provision.Published
		err          error
		batches, ids []int64
		more         bool
	}{
		"all":                       {answer: provision.Published{IDs: []int64{3, 7, 5, 8}}, batches: []int64{1, 2}},
		"one and a half":            {answer: provision.Published{IDs: []int64{3, 7, 5}}, batches: []int64{1}, ids: []int64{5}, more: true},
		"one and a half, it failed": {answer: provision.Published{IDs: []int64{3, 7, 5}}, err: full, batches: []int64{1}, ids: []int64{5}},
		"what another relay sent":   {answer: provision.Published{IDs: []int64{2, 8, 5, 3}}, batches: []int64{2}, ids: []int64{2, 3}},
		"nothing of ours":           {answer: provision.Published{}, more: true},
	} {
		t.Run(name, func(t *testing.T) {
			c.answer.After, c.answer.Last = 10, 17
			o := &outbox{}
			r := &provision.Relay{Store: o, Publisher: stream{c.answer, c.err}, Batch: 100, Timeout: time.Second}
			more, err := r.Round(t.Context())
			if more != c.more || !errors.Is(err, c.err) {
				t.Errorf("more %v, %v; want %v, %v", more, err, c.more, c.err)
			}
			if o.noted.After != 10 || o.noted.Last != 17 || !slices.Equal(o.noted.Batches, c.batches) || !slices.Equal(o.noted.IDs, c.ids) {
				t.Errorf("noted %+v, want batches %v and ids %v", o.noted, c.batches, c.ids)
			}
		})
	}
}

// led is an outbox that this worker may lead at first, and then another one does.
type led struct {
	provision.RelayStore
	own    error // of the one round that it leads; nil: it never does
	waited time.Duration
}

func (o *led) Lead(context.Context) (func(), bool, error) { return func() {}, o.own != nil, nil }

func (o *led) Unpublished(context.Context, int) ([]provision.Event, uint64, error) {
	err := o.own
	o.own = nil
	return nil, 0, err
}

func (o *led) Waited(context.Context) (time.Duration, error) { return o.waited, nil }

// A worker that does not lead says what it sees of the relay, and does not take back
// what it saw itself before that is over.
func TestARelayThatAnotherWorkerLeads(t *testing.T) {
	for name, c := range map[string]struct {
		own    error
		waited time.Duration
		said   string
	}{
		"nothing waits":      {},
		"it moves":           {waited: 29 * time.Second},
		"nobody publishes":   {waited: 30 * time.Second, said: "has waited for 30s"},
		"nor could this one": {own: errors.New("full"), waited: time.Minute, said: "full"},
		"this one could not, and all is out since":   {own: errors.New("full")},
		"this one could not, and it moves since":     {own: errors.New("full"), waited: 2 * time.Second},
		"this one could not, what waited then waits": {own: errors.New("full"), waited: 20 * time.Second, said: "full"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				h := provision.NewHealth(slog.New(slog.DiscardHandler))
				r := &provision.Relay{Store: &led{own: c.own, waited: c.waited}, Health: h}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					r.Run(ctx, ctx)
				}()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				switch p := h.Problems(); {
				case c.said == "" && len(p) > 0:
					t.Errorf("%v, want nothing", p)
				case c.said != "" && (len(p) != 1 || p[0].Part != "relay" || !strings.Contains(p[0].Error, c.said)):
					t.Errorf("%v, want %q", p, c.said)
				}
				cancel()
				<-ended
			})
		})
	}
}
