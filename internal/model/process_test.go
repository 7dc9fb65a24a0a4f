package model

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	errDead = errors.New("the process is dead")
	errDown = errors.New("the database does not answer")
)

// process is one life of a worker.
type process struct {
	w    *world
	name string
	ctx  context.Context
	kill context.CancelFunc

	mu     sync.Mutex
	dead   bool
	dies   int           // after so many more moments; 0: not soon
	thawed chan struct{} // set while it is paused
}

func (w *world) newProcess(name string) *process {
	p := &process{w: w, name: name}
	p.ctx, p.kill = context.WithCancel(context.Background())
	return p
}

// doom lets the process die after so many moments.
func (p *process) doom(moments int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dies = moments
}

// pause stops it for d, as SIGSTOP does: whatever it is about to do waits.
func (p *process) pause(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.thawed != nil {
		return
	}
	thawed := make(chan struct{})
	p.thawed = thawed
	time.AfterFunc(d, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.thawed = nil
		close(thawed)
	})
}

// moment is passed before and after each side effect: here it waits while it is
// paused, and here it dies.
func (p *process) moment() error {
	for {
		p.mu.Lock()
		thawed := p.thawed
		if thawed == nil {
			defer p.mu.Unlock()
			break
		}
		p.mu.Unlock()
		<-thawed
	}
	if p.dies > 0 {
		if p.dies--; p.dies == 0 {
			p.dead = true
			p.kill()
			p.w.tally("death")
		}
	}
	if p.dead {
		return errDead
	}
	return nil
}

// effect runs one side effect, unless the process is dead before it, and hides its
// result if it is dead after it.
func effect[T any](p *process, do func() (T, error)) (T, error) {
	var none T
	if err := p.moment(); err != nil {
		return none, err
	}
	v, err := do()
	if err := p.moment(); err != nil {
		return none, err
	}
	return v, err
}

// statement is one that may fail, before or after it was committed. What fails
// counts if it would have changed something, as far as can be known.
func statement[T any](p *process, what string, do func() (T, error), changed func(T) bool) (T, error) {
	return effect(p, func() (T, error) {
		var none T
		d := p.w.dice("statement " + what)
		x := d.Float64()
		if p.w.isCalm() || x >= p.w.plan.Database {
			return do()
		}
		defer time.Sleep(time.Duration(d.Int64N(int64(3 * time.Second))))
		if x < p.w.plan.Database/2 {
			if changed == nil {
				p.w.tally("statement failed")
			}
			return none, fmt.Errorf("%s: %w", what, errDown)
		}
		v, err := do()
		if changed == nil || changed(v) {
			p.w.tally("commit unanswered")
		}
		return none, errors.Join(fmt.Errorf("%s: %w", what, errDown), err)
	})
}

// claim is a statement that claims; it changes what it returns.
func claim[T any](p *process, what string, do func() ([]T, error)) ([]T, error) {
	return statement(p, what, do, func(taken []T) bool { return len(taken) > 0 })
}

// look is a statement that changes nothing.
func look[T any](p *process, what string, do func() (T, error)) (T, error) {
	return statement(p, what, do, func(T) bool { return false })
}
