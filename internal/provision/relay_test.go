package provision_test

import (
	"context"
	"errors"
	"slices"
	"testing"
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
