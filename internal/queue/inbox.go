package queue

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"ddsworker/internal/provision"
)

// ErrInboxClosed is what Receive returns after Close.
var ErrInboxClosed = errors.New("the inbox is closed")

// heartbeat is how often the server says that a pull is still waiting. Two that
// are missing mean that nobody will answer it any more.
const heartbeat = 2 * time.Second

// InboxConfig says how an Inbox works.
type InboxConfig struct {
	// Prefetch is how many deliveries may lie here unreceived; default 1000, at
	// least 2. Their AckWait runs meanwhile.
	Prefetch int
	// PrefetchBytes is how much they may hold, in bytes; default 64 MiB, and never
	// less than four of the largest messages that the server lets through.
	PrefetchBytes int
	// Prepare is called before the consumer is opened, at the start and whenever
	// it was lost: Setup where the worker may make streams, Check otherwise. It
	// may be nil.
	Prepare func(ctx context.Context) error
	// Report is told about PartInbox whenever it fails and whenever it works
	// again. It may be nil.
	Report func(part string, err error)
}

// Inbox hands out the deliveries of DDS_REQUESTS. It pulls only while there is
// room for what comes, and goes on by itself after whatever befell the
// connection, the stream or the consumer. It implements provision.Inbox.
type Inbox struct {
	js     jetstream.JetStream
	cfg    InboxConfig
	ready  chan delivery
	room   *semaphore.Weighted // bytes that ready may still take
	cancel context.CancelFunc
	done   chan struct{}

	// Used by the goroutine of run alone.
	pause    *backoff.ExponentialBackOff
	reported bool         // something was reported
	healthy  bool         // what was reported last
	born     time.Time    // when the present consumer was made
	outlived *atomic.Bool // set when it is not the present one any more
	small    int          // deliveries in a row that can be requests by their size
	wide     bool         // pulls are for as many as requests may come
}

var _ provision.Inbox = (*Inbox)(nil)

// delivery is a message and the room it takes.
type delivery struct {
	provision.Message
	size int64
}

// maxBatch is how many bytes Receive returns, give or take its last message.
const maxBatch = 16 << 20

// NewInbox starts to pull. Close ends it.
func NewInbox(js jetstream.JetStream, cfg InboxConfig) *Inbox {
	cfg.Prefetch = max(2, orDefault(cfg.Prefetch, 1000))
	cfg.PrefetchBytes = orDefault(cfg.PrefetchBytes, 64<<20)
	if cfg.Prepare == nil {
		cfg.Prepare = func(context.Context) error { return nil }
	}
	if cfg.Report == nil {
		cfg.Report = func(string, error) {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	i := &Inbox{
		js:  js,
		cfg: cfg,
		// The rest of the prefetch is what the iterator holds and the one
		// delivery on its way from there to here.
		ready:    make(chan delivery, cfg.Prefetch-iteratorShare(cfg.Prefetch)-1),
		room:     semaphore.NewWeighted(int64(byteShare(cfg.PrefetchBytes))),
		cancel:   cancel,
		done:     make(chan struct{}),
		outlived: new(atomic.Bool),
		pause: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(250*time.Millisecond),
			backoff.WithMaxInterval(2*time.Second),
			backoff.WithMaxElapsedTime(0)),
	}
	go i.run(ctx)
	return i
}

// iteratorShare is how much of the prefetch the iterator may ask for.
func iteratorShare(prefetch int) int { return prefetch / 2 }

// byteShare is what the iterator may hold, and what may lie ready.
func byteShare(bytes int) int { return max(1, bytes/4) }

// pullMessages is how many messages the iterator may ask for: so few that the
// largest that can be requests keep within the bytes, if no larger ones came lately;
// else so few that the largest do that the server lets through. The library's own
// limit of bytes makes pulls stall under load.
func (i *Inbox) pullMessages(wide bool) int {
	largest := max(1, int(i.js.Conn().MaxPayload()))
	if wide {
		largest = min(largest, largestRequest)
	}
	return max(1, min(iteratorShare(i.cfg.Prefetch), byteShare(i.cfg.PrefetchBytes)/largest))
}

// largestRequest is what a message takes that can be a request, headers and all.
const largestRequest = provision.MaxBody + 4<<10

// gauge notes the size of a delivery and reports whether pulls should be of another
// width from now on.
func (i *Inbox) gauge(size int64) (resize bool) {
	if i.small++; size > largestRequest {
		i.small = 0
	}
	wide := i.small >= i.pullMessages(false)
	resize = wide != i.wide && (wide || i.small == 0)
	if resize {
		i.wide = wide
	}
	return resize
}

// Receive blocks until there is a delivery, and returns it with what has piled
// up behind it: at most limit, and no more once they have 16 MiB. It ends with
// ctx, and with ErrInboxClosed.
func (i *Inbox) Receive(ctx context.Context, limit int) ([]provision.Message, error) {
	var batch []provision.Message
	var size int64
	take := func(d delivery) {
		i.room.Release(d.size)
		batch = append(batch, d.Message)
		size += d.size
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-i.done:
		return nil, ErrInboxClosed
	case d := <-i.ready:
		take(d)
	}
	for len(batch) < limit && size < maxBatch {
		select {
		case d := <-i.ready:
			take(d)
		default:
			return batch, nil
		}
	}
	return batch, nil
}

// Close gives back what nobody received, so that another worker has it at once,
// and waits until the inbox has ended. Settle what was received, then close the
// connection.
func (i *Inbox) Close() {
	i.cancel()
	<-i.done
}

// run supervises: open, pump until that fails, wait, and again.
func (i *Inbox) run(ctx context.Context) {
	defer close(i.done)
	defer i.giveBack()
	again := i.js.Conn().StatusChanged(nats.CONNECTED)
	defer i.js.Conn().RemoveStatusListener(again)
	var failed time.Time // when the consumer was made that failed last
	for {
		for len(again) > 0 { // old news
			<-again
		}
		consumer, err := i.open(ctx, again)
		if err == nil {
			// A pull that nobody answered although the consumer was there is not
			// cured by finding the same consumer once more.
			if !failed.Equal(i.born) {
				i.report(nil)
			}
			err = i.pump(ctx, consumer)
			failed = i.born
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errAgain) {
			continue
		}
		i.report(err)
		select {
		case <-ctx.Done():
			return
		case <-again:
			i.pause.Reset()
		case <-time.After(i.pause.NextBackOff()):
		}
	}
}

// errAgain: the connection was made again.
var errAgain = errors.New("the connection was made again")

// open gives up early when the connection is made again: what was asked on the one
// before is never answered.
func (i *Inbox) open(ctx context.Context, again <-chan nats.Status) (_ jetstream.Consumer, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-again:
			giveUp(errAgain)
		case <-ctx.Done():
		}
	}()
	defer func() {
		if errors.Is(context.Cause(ctx), errAgain) && err != nil {
			err = errAgain
		}
		giveUp(nil)
	}()
	if err := i.cfg.Prepare(ctx); err != nil {
		return nil, err
	}
	consumer, err := i.js.Consumer(ctx, RequestsStream, ConsumerName)
	if err != nil {
		return nil, fmt.Errorf("open consumer %s of stream %s: %w; where it is missing, run `worker migrate`",
			ConsumerName, RequestsStream, err)
	}
	if born := consumer.CachedInfo().Created; !born.Equal(i.born) {
		i.outlived.Store(true)
		i.born, i.outlived = born, new(atomic.Bool)
	}
	return consumer, nil
}

// pump moves deliveries from the server to Receive until ctx ends or the
// consumer is lost.
func (i *Inbox) pump(ctx context.Context, consumer jetstream.Consumer) error {
	for {
		if err := i.pull(ctx, consumer); err != nil {
			return err
		}
	}
}

// pull does so with pulls of one width; without an error they should have another.
func (i *Inbox) pull(ctx context.Context, consumer jetstream.Consumer) error {
	iterator, err := consumer.Messages(
		jetstream.PullMaxMessages(i.pullMessages(i.wide)),
		jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return fmt.Errorf("pull from %s: %w", RequestsStream, err)
	}
	defer abandon(iterator)
	for resize := false; ; {
		msg, err := next(ctx, iterator, 3*heartbeat)
		switch {
		case ctx.Err() != nil:
			if msg != nil {
				_ = msg.Nak() // a lost one is repeated after AckWait
			}
			return ctx.Err()
		case resize && errors.Is(err, jetstream.ErrMsgIteratorClosed):
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			// Quiet for longer than two missing heartbeats, so there were some;
			// they are not counted while the connection is away.
			if i.js.Conn().IsConnected() {
				i.works()
			}
			continue
		case err != nil:
			return fmt.Errorf("pull from %s: %w", RequestsStream, err)
		}
		if err := i.verifyBody(ctx, msg); err != nil {
			_ = msg.Nak() // a lost one is repeated after AckWait
			return err
		}
		i.works()
		message, err := toMessage(msg, i.outlived)
		if err != nil {
			return err
		}
		if i.gauge(i.size(msg)) && !resize {
			resize = true
			iterator.Drain() // what was fetched still comes
		}
		if err := i.put(ctx, delivery{message, i.size(msg)}); err != nil {
			return err
		}
	}
}

// verifyBody asks about the consumer where the server says that a message without a
// body has one: somebody changed it to hand out headers alone, and what it hands out
// must not be refused for that.
func (i *Inbox) verifyBody(ctx context.Context, msg jetstream.Msg) error {
	if size := msg.Headers().Get(nats.MsgSize); len(msg.Data()) > 0 || size == "" || size == "0" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := checkConsumer(ctx, i.js, Layout{})
	return err
}

// put waits for room and hands d to Receive, or gives it back when ctx ends.
func (i *Inbox) put(ctx context.Context, d delivery) error {
	if err := i.room.Acquire(ctx, d.size); err != nil {
		_ = d.Settle.Nak(0) // a lost one is repeated after AckWait
		return err
	}
	select {
	case i.ready <- d:
		return nil
	case <-ctx.Done():
		_ = d.Settle.Nak(0)
		return ctx.Err()
	}
}

// size is the room that msg takes: its bytes, but never more than all there is.
func (i *Inbox) size(msg jetstream.Msg) int64 {
	size := len(msg.Data())
	for name, values := range msg.Headers() {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	return int64(min(size, byteShare(i.cfg.PrefetchBytes)))
}

// next waits for a message, but not longer than wait.
func next(ctx context.Context, iterator jetstream.MessagesContext, wait time.Duration) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return iterator.Next(jetstream.NextContext(ctx))
}

// abandon ends an iterator and gives back what it had fetched.
func abandon(iterator jetstream.MessagesContext) {
	iterator.Drain()
	for {
		msg, err := iterator.Next(jetstream.NextMaxWait(time.Second))
		if err != nil {
			return
		}
		_ = msg.Nak() // a lost one is repeated after AckWait
	}
}

// giveBack returns what was fetched and not received.
func (i *Inbox) giveBack() {
	for {
		select {
		case d := <-i.ready:
			_ = d.Settle.Nak(0) // a lost one is repeated after AckWait
		default:
			return
		}
	}
}

// works notes a sign of life of the consumer.
func (i *Inbox) works() {
	i.pause.Reset()
	i.report(nil)
}

// report tells about a change of health.
func (i *Inbox) report(err error) {
	healthy := err == nil
	if i.reported && healthy == i.healthy {
		return
	}
	i.reported, i.healthy = true, healthy
	i.cfg.Report(PartInbox, err)
}
