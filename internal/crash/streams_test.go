package crash

import (
	"context"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/provision/storetest"
)

// ackWait is when a delivery that nobody settled comes again.
const ackWait = 30 * time.Second

// queue is the stream of requests.
type queue struct {
	waiting []*delivery
	settled map[string]string // by id: how
}

type delivery struct {
	msg provision.Message
	due time.Time
}

func (q *queue) publish(m provision.Message) {
	q.waiting = append(q.waiting, &delivery{msg: m, due: time.Now()})
}

// next is when the next message may be delivered; zero if none waits.
func (q *queue) next() (next time.Time) {
	for _, d := range q.waiting {
		if next.IsZero() || d.due.Before(next) {
			next = d.due
		}
	}
	return next
}

func (q *queue) settle(d *delivery, how string) {
	for i, w := range q.waiting {
		if w == d {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			q.settled[d.msg.ID] = how
			return
		}
	}
}

// inbox is the queue as a process sees it. It does not wait for messages.
type inbox struct {
	*process
	q *queue
}

func (in inbox) Receive(_ context.Context, most int) ([]provision.Message, error) {
	return take(in.process, "receive", func() (out []provision.Message, _ error) {
		for _, d := range in.q.waiting {
			if len(out) < most && !d.due.After(time.Now()) {
				d.due = time.Now().Add(ackWait)
				m := d.msg
				m.Settle = settler{in.process, in.q, d}
				out = append(out, m)
			}
		}
		return out, nil
	})
}

type settler struct {
	*process
	q *queue
	d *delivery
}

func (s settler) Ack() error {
	return write(s.process, "ack", func() error { s.q.settle(s.d, "ack"); return nil })
}

func (s settler) Term(string) error {
	return write(s.process, "term", func() error { s.q.settle(s.d, "term"); return nil })
}

func (s settler) Nak(d time.Duration) error {
	return write(s.process, "nak", func() error { s.d.due = time.Now().Add(d); return nil })
}

// publisher is the journal as a process sees it.
type publisher struct {
	*process
	j *storetest.Journal
}

func (p publisher) Publish(_ context.Context, after uint64, events []provision.Event) (provision.Published, error) {
	return effect(p.process, "publish", func() (provision.Published, error) { return p.j.Publish(after, events), nil },
		func(provision.Published) bool { return true })
}
