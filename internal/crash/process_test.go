package crash

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// errDead is what a dead process hears of whatever it still tries.
var errDead = errors.New("the process is dead")

// process is one life of a worker. It dies at a moment: right before or right
// after one of its side effects, without hearing of it.
type process struct {
	ctx  context.Context
	kill context.CancelFunc

	mu      sync.Mutex
	dies    int  // at which moment; 0: never
	marked  bool // only moments count after which the world is another one
	moments int
	dead    bool
	last    string // what it did at its last moment
	calls   int    // side effects
}

func newProcess(ctx context.Context, dies int, marked bool) *process {
	p := &process{dies: dies, marked: marked}
	p.ctx, p.kill = context.WithCancel(ctx)
	return p
}

// moment counts, and reports whether the process lives on.
func (p *process) moment(what string) bool {
	if p.dead {
		return false
	}
	p.moments++
	p.last = what
	if p.moments == p.dies {
		p.dead = true
		p.kill()
	}
	return !p.dead
}

func (p *process) before(what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.marked {
		return !p.dead
	}
	return p.moment("before " + what)
}

func (p *process) after(what string, changed bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.marked && !changed {
		return !p.dead
	}
	return p.moment("after " + what)
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// effect runs one side effect unless the process is dead before it, and hides its
// result if the process is dead after it. changed tells whether it changed
// anything.
func effect[T any](p *process, what string, do func() (T, error), changed func(T) bool) (T, error) {
	var none T
	if !p.before(what) {
		return none, fmt.Errorf("%s: %w", what, errDead)
	}
	v, err := do()
	if !p.after(what, changed(v)) {
		return none, fmt.Errorf("%s: %w", what, errDead)
	}
	return v, err
}

// write is an effect that returns nothing.
func write(p *process, what string, do func() error) error {
	_, err := effect(p, what, func() (struct{}, error) { return struct{}{}, do() }, func(struct{}) bool { return true })
	return err
}

// read is an effect that changes nothing.
func read[T any](p *process, what string, do func() (T, error)) (T, error) {
	return effect(p, what, do, func(T) bool { return false })
}

// take is an effect that changes what it returns.
func take[T any](p *process, what string, do func() ([]T, error)) ([]T, error) {
	return effect(p, what, do, func(taken []T) bool { return len(taken) > 0 })
}
