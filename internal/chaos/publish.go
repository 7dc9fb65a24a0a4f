package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"ddsworker/examples"
)

// publisher publishes requests until the stream has acknowledged each of them,
// and knows which it has.
type publisher struct {
	system *system
	body   []byte // with %s where the name belongs

	mu    sync.Mutex
	acked map[string]bool
	work  sync.WaitGroup
}

func newPublisher(s *system) (*publisher, error) {
	text, err := examples.Documented.ReadFile("single-node.json")
	if err != nil {
		return nil, err
	}
	var body map[string]any
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, err
	}
	body["name"] = "NAME"
	text, err = json.Marshal(body)
	return &publisher{system: s, body: text, acked: map[string]bool{}}, err
}

// requestID is the id of the n-th request, and its instance's name.
func requestID(n int) string { return fmt.Sprintf("chaos-%05d", n) }

// bodyOf is the body of a request; another variant is another body.
func (p *publisher) bodyOf(name string, variant int) []byte {
	body := bytes.Replace(p.body, []byte("NAME"), []byte(name), 1)
	if variant > 0 {
		body = bytes.Replace(body, []byte(name), []byte(fmt.Sprintf("%s-%d", name, variant)), 1)
	}
	return body
}

// publish publishes a request in the background until it is acknowledged.
func (p *publisher) publish(ctx context.Context, id string) {
	p.work.Go(func() {
		for ctx.Err() == nil {
			if p.once(ctx, id, 0) == nil {
				p.mu.Lock()
				p.acked[id] = true
				p.mu.Unlock()
				return
			}
			_ = pause(ctx, 100*time.Millisecond) // the end is noticed above
		}
	})
}

// once publishes a request, with the body of a variant.
func (p *publisher) once(ctx context.Context, id string, variant int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	msg := nats.NewMsg("dds.requests")
	msg.Header.Set(nats.MsgIdHdr, id)
	msg.Data = p.bodyOf(id, variant)
	ack, err := p.system.js.PublishMsg(ctx, msg)
	if err == nil && ack.Duplicate && variant > 0 {
		return errDropped
	}
	return err
}

// errDropped: the stream took another body for the message with the same id just
// before it, within its duplicate window, and did not store it.
var errDropped = errors.New("dropped as a duplicate")

// acknowledged returns the ids that the stream has taken.
func (p *publisher) acknowledged() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]string, 0, len(p.acked))
	for id := range p.acked {
		ids = append(ids, id)
	}
	return ids
}
