package provision

import (
	"context"
	"time"
)

const (
	// patience is how long the intake waits for calls to make room.
	patience = 200 * time.Millisecond
	// respite is how long it waits for what is due to be claimed, while that goes on.
	respite = time.Second
	// stride is how few requests are not worth waiting for: a statement costs as much
	// as it writes for so many.
	stride = 16
)

// inStep waits until requests can be claimed as they are taken in, which costs half
// of a claim by itself, and returns how many that are; or it returns batch. It waits
// only while calls end in quick succession, and only where none but one project is
// served, so that nobody else's requests stand in the stream behind those that wait.
func (c *Creator) inStep(ctx context.Context, batch int) int {
	if c == nil || len(c.Served.Projects) != 1 || c.inFlight().enough < stride || len(c.bounds()) > 0 {
		return batch
	}
	for began := time.Now(); time.Since(began) < respite; {
		going := c.inFlight().roomy.wait(ctx, patience) && c.desk.unrecorded.roomy.wait(ctx, patience)
		// What is due comes first, and takes the room.
		if n := c.inFlight().free(); n >= stride && c.desk.idle.wait(ctx, patience) {
			return min(batch, n)
		}
		if !going {
			break
		}
	}
	return batch
}
