package queue

import "errors"

// ErrDiffers means that a stream or the consumer is not as it must be, and that
// only people can mend it.
var ErrDiffers = errors.New("the streams do not fit")
