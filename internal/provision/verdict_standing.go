package provision

import (
	"fmt"
	"strconv"
)

// This file decides whether a database may act: pure functions, no I/O.

// Identity is what a database says of itself.
type Identity struct {
	Installation string
	Epoch        int
	// Home is where it was used so far, empty if it never was; Here is where it is.
	Home, Here string
	// Timeline is that of the server; it moves when a replica takes over, and when
	// the server is restored to a point in time.
	Timeline, TimelineHere string
	KnowsLast              bool // the newest event of the stream, if there is one
}

// Same reports whether both are the same installation in the same epoch.
func (i Identity) Same(other Identity) bool {
	return i.Installation == other.Installation && i.Epoch == other.Epoch
}

// StreamIdentity is whose a stream is, in its own words; empty where it has none.
type StreamIdentity struct {
	Stream       string
	Installation string
	Epoch        string
}

// StandingError says why a database must not act: it may be a copy, or older than
// what was done already.
type StandingError struct{ Reason string }

// Error names what differs and the two ways out.
func (e *StandingError) Error() string {
	return e.Reason + ": nothing is called, taken or published. If this database is the rightful one, run `worker recover`; " +
		"if it is a copy, give it a NATS of its own and run `worker adopt --as-new`"
}

// JudgeStanding returns a *StandingError unless the database may act. last is
// the newest event of the stream, read before the database; 0: it has none.
func JudgeStanding(db Identity, streams []StreamIdentity, last int64) error {
	if db.Home != "" && db.Home != db.Here {
		return &StandingError{fmt.Sprintf("this database was used as %s and is now %s, so it was restored or copied", db.Home, db.Here)}
	}
	vouched := false
	for _, s := range streams {
		switch {
		case s.Installation == "":
		case s.Installation != db.Installation:
			return &StandingError{fmt.Sprintf("stream %s belongs to installation %.80q, and this database is %s (check NATS_URL and DATABASE_URL)", s.Stream, s.Installation, db.Installation)}
		case s.Epoch != "" && s.Epoch != strconv.Itoa(db.Epoch):
			return &StandingError{fmt.Sprintf("stream %s belongs to epoch %.20q of this installation, and the database is at %d", s.Stream, s.Epoch, db.Epoch)}
		default:
			vouched = true
		}
	}
	if last != 0 && !db.KnowsLast {
		return &StandingError{fmt.Sprintf("the stream of events knows event %d and this database does not, so it was restored from a backup, or lost something when a replica took over", last)}
	}
	if db.Timeline != "" && db.Timeline != db.TimelineHere && !vouched {
		return &StandingError{fmt.Sprintf("this database's server went from timeline %s to %s and no stream tells whether it lost something, so it may be restored or a copy",
			db.Timeline, db.TimelineHere)}
	}
	return nil
}
