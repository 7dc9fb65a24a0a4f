package queue

import (
	"errors"
	"fmt"
)

// ErrDiffers means that a stream or the consumer is not as it must be, and that
// only people can mend it.
var ErrDiffers = errors.New("the streams do not fit")

// ForeignError says that a stream belongs to another installation: this one was
// restored or cloned, or points at somebody else's NATS.
type ForeignError struct {
	Stream     string
	Have, Want string // installations
}

// Error names the stream, both installations and what to do.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("stream %s belongs to installation %q, and this one is %q: check NATS_URL and DATABASE_URL; "+
		"a copy of a database needs a NATS of its own", e.Stream, e.Have, e.Want)
}

// Unwrap returns ErrDiffers.
func (e *ForeignError) Unwrap() error { return ErrDiffers }
