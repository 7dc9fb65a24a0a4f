package provision

import (
	"context"
	"sync"
	"time"
)

// desk is where claims of creates are made, one statement at a time, so that no two
// count on the same room; and where intake leaves those that it made in its insert.
type desk struct {
	once    sync.Once
	claims  chan struct{} // full while somebody claims; a statement takes too long for a mutex
	room    *room         // calls in flight
	backlog bool          // the last claim left something that is due
	// idle holds while the last claim left nothing that is due, and none is being made;
	// else each call that ends makes way for another.
	idle *latch
	// unrecorded are the outcomes that are not in the database yet. While there are two
	// for each place no more calls are claimed, so that calls go on while others are
	// recorded.
	unrecorded *room

	hand    Bell // rings when there is something in left
	leaving sync.Mutex
	left    []held
	closed  bool
}

// held is a claim and the time by which its call must have ended.
type held struct {
	CreateClaim
	deadline time.Time
}

// claimWith lets a statement that takes requests in claim of them what there is
// room for. It claims nothing while others are due, which come first, or for long being
// claimed.
func (c *Creator) claimWith(statement func(ClaimQuery) ([]CreateClaim, error)) error {
	if c == nil {
		_, err := statement(ClaimQuery{})
		return err
	}
	tired := time.NewTimer(handful)
	defer tired.Stop()
	select {
	case c.atDesk().claims <- struct{}{}:
		defer func() { <-c.desk.claims }()
	case <-tired.C:
		_, err := statement(ClaimQuery{})
		return err
	}
	limit, most := 0, map[string]int(nil)
	if !c.desk.backlog && !c.desk.isClosed() {
		limit, most = c.claimable()
		for project := range most { // what is bounded goes by its due time
			most[project] = 0
		}
	}
	claims, err := c.take(limit, most, statement)
	if c.desk.leave(claims); len(claims) > 0 {
		c.desk.hand.Ring()
	}
	return err
}

func (d *desk) isClosed() bool {
	d.leaving.Lock()
	defer d.leaving.Unlock()
	return d.closed
}

func (d *desk) leave(claims []held) {
	d.leaving.Lock()
	defer d.leaving.Unlock()
	d.left = append(d.left, claims...)
}

// handed returns what was left and is now the caller's.
func (d *desk) handed() (claims []held) {
	d.leaving.Lock()
	defer d.leaving.Unlock()
	claims, d.left = d.left, nil
	return claims
}

// close ends the leaving of claims and returns the last of them. It waits for a
// statement that is on its way, while work lasts.
func (d *desk) close(work context.Context) []held {
	d.leaving.Lock()
	d.closed = true
	d.leaving.Unlock()
	select {
	case d.claims <- struct{}{}:
		<-d.claims
	case <-work.Done():
	}
	return d.handed()
}

// inFlight are the calls under way, and those that were claimed and are about to
// be. Whoever lets in more holds the desk.
func (c *Creator) inFlight() *room { return c.atDesk().room }

func (c *Creator) atDesk() *desk {
	c.desk.once.Do(func() {
		c.desk.claims, c.desk.hand, c.desk.room = make(chan struct{}, 1), NewBell(), newRoom(c.Concurrency)
		c.desk.idle, c.desk.unrecorded = newLatch(), newRoom(2*c.Concurrency)
	})
	return &c.desk
}

// handful is how long a claim waits for enough of the room to be free, and how long an
// insert waits for a claim to end.
const handful = 5 * time.Millisecond

// rest waits while almost all of the room is taken. What rings meanwhile is about what
// is claimed then.
func (c *Creator) rest(ctx context.Context) {
	c.inFlight().roomy.wait(ctx, handful)
	select {
	case <-c.Due:
	default:
	}
}
