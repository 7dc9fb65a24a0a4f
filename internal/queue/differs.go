package queue

import (
	"errors"
	"fmt"
)

// ErrDiffers means that a stream or the consumer is not as it must be, and that
// only people can mend it.
var ErrDiffers = errors.New("the streams do not fit")

// ForeignError says that a stream belongs to another installation, or to another
// epoch of this one: this one was restored or cloned, or points at somebody else's
// NATS.
type ForeignError struct {
	Stream     string
	Have, Want string // installations, or epochs
	Epoch      bool   // they are epochs
}

// Error names the stream, what is there, what should be, and what to do.
func (e *ForeignError) Error() string {
	if e.Epoch {
		return fmt.Sprintf("stream %s belongs to epoch %q of this installation, which is at %s: run `worker recover` if this database is the rightful one",
			e.Stream, e.Have, e.Want)
	}
	return fmt.Sprintf("stream %s belongs to installation %q, and this one is %q: check NATS_URL and DATABASE_URL; "+
		"a copy of a database needs a NATS of its own", e.Stream, e.Have, e.Want)
}

// Unwrap returns ErrDiffers.
func (e *ForeignError) Unwrap() error { return ErrDiffers }
