package model

import (
	"context"
	"slices"
	"sync"
	"time"

	"ddsworker/internal/provision"
)

// ackWait is when a delivery that nobody settled comes again.
const ackWait = 30 * time.Second

// queue is the stream of requests.
type queue struct {
	mu      sync.Mutex
	waiting []*delivery
}

type delivery struct {
	msg provision.Message
	due time.Time
}

func (q *queue) publish(m provision.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, &delivery{msg: m, due: time.Now()})
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) == 0
}

func (q *queue) settle(d *delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(w *delivery) bool { return w == d })
}

func (q *queue) deliver(p *process, most int) (out []provision.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range q.waiting {
		if len(out) < most && !d.due.After(time.Now()) {
			d.due = time.Now().Add(ackWait)
			m := d.msg
			m.Settle = settler{p, q, d}
			out = append(out, m)
		}
	}
	return out
}

// inbox is the queue as a process sees it.
type inbox struct{ *process }

func (in inbox) Receive(ctx context.Context, most int) ([]provision.Message, error) {
	for {
		out, err := effect(in.process, func() ([]provision.Message, error) { return in.w.queue.deliver(in.process, most), nil })
		if err != nil || len(out) > 0 {
			return out, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type settler struct {
	*process
	q *queue
	d *delivery
}

// settle may be lost on its way, which nobody hears of.
func (s settler) settle(do func()) error {
	_, err := effect(s.process, func() (nothing, error) {
		if !s.w.isCalm() && s.w.dice("ack").Float64() < 0.05 {
			s.w.tally("ack lost")
			return nothing{}, nil
		}
		do()
		return nothing{}, nil
	})
	return err
}

func (s settler) Ack() error        { return s.settle(func() { s.q.settle(s.d) }) }
func (s settler) Term(string) error { return s.settle(func() { s.q.settle(s.d) }) }
func (s settler) Nak(d time.Duration) error {
	return s.settle(func() {
		s.q.mu.Lock()
		defer s.q.mu.Unlock()
		s.d.due = time.Now().Add(d)
	})
}

// publisher is the journal as a process sees it.
type publisher struct{ *process }

func (p publisher) Publish(_ context.Context, after uint64, events []provision.Event) (provision.Published, error) {
	return effect(p.process, func() (provision.Published, error) {
		published := p.w.journal.Publish(after, events)
		if !p.w.isCalm() && p.w.dice("publish").Float64() < 0.03 {
			p.w.tally("receipt lost")
			return provision.Published{After: after, Last: after}, errDown
		}
		return published, nil
	})
}
