package provision

import (
	"context"
	"errors"
)

// manyUnanswered is how many calls in a row must go without an answer that can be
// read until that is the cloud's matter and not a request's.
const manyUnanswered = 5

// reportCloud says how calls to the cloud are doing: in trouble if they cannot
// even be sent, or if none is answered any more. What the cloud answers is the
// request's matter.
func (h *Health) reportCloud(err error) {
	if errors.Is(err, errNoSlot) || errors.Is(err, context.Canceled) {
		return // it says nothing about the cloud
	}
	class := Class("")
	if err != nil {
		class = AsCloudError(err).Class
	}
	h.mu.Lock()
	lost := class == ClassLost || class == ClassServer
	if lost {
		h.unanswered++
	} else {
		h.unanswered = 0
	}
	few := h.unanswered < manyUnanswered
	h.mu.Unlock()
	switch {
	case lost && few:
		return
	case !lost && class != ClassNotSent:
		err = nil
	}
	h.Report("calls to the cloud", err)
}
