package provision

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// desk is where claims of creates are made, one statement at a time, so that no two
// count on the same room; and where intake leaves those that it made in its insert.
type desk struct {
	once    sync.Once
	claims  chan struct{} // full while somebody claims; a statement takes too long for a mutex
	room    *room         // calls in flight
	backlog bool          // the last claim left something that is due
	// wanted tells that the last claim may have left something that is due, or that one
	// is being made: then each call that ends makes way for another.
	wanted atomic.Bool
	// unrecorded are the outcomes that are not in the database yet.
	unrecorded atomic.Int64

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
// room for. It claims nothing while others are due, which come first, or just being
// claimed.
func (c *Creator) claimWith(statement func(ClaimQuery) ([]CreateClaim, error)) error {
	if c == nil {
		_, err := statement(ClaimQuery{})
		return err
	}
	select {
	case c.atDesk().claims <- struct{}{}:
		defer func() { <-c.desk.claims }()
	default:
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
	})
	return &c.desk
}

// crowded is the share of the room, and handful the time, that a claim waits for to
// be free: a statement for one row costs as much as one for thirty.
const crowded, handful = 4, 5 * time.Millisecond

// rest waits while almost all of the room is taken.
func (c *Creator) rest(ctx context.Context) {
	enough := func() bool { return c.inFlight().free() >= max(1, c.Concurrency/crowded) }
	if enough() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handful)
	defer cancel()
	for !enough() && ctx.Err() == nil {
		c.Due.wait(ctx, handful)
	}
}
