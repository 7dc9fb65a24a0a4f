package provision

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Policy holds every duration by which requests are handled.
type Policy struct {
	// CallTimeout bounds one call to the cloud, from before its claim was sent.
	CallTimeout time.Duration
	// Lease is how long a claim holds. It must be longer than CallTimeout, so
	// that a call has ended before somebody else looks.
	Lease time.Duration
	// VisibilityWindow is how long a list may hide an instance that exists.
	VisibilityWindow time.Duration
	// CreateDeadline is how long a request is tried, from its first call.
	CreateDeadline time.Duration
	// BuildDeadline is how long an instance may take until it is ready.
	BuildDeadline time.Duration
	// PollInterval is the shortest time between two looks at an instance being built.
	PollInterval time.Duration
	// DetectionTarget is how late the end of a build may be seen, at the median.
	DetectionTarget time.Duration
	// UsualMin and UsualMax are how long builds usually take, where nothing was seen.
	UsualMin, UsualMax time.Duration
	// RetryMin and RetryMax bound the delay before the next call.
	RetryMin, RetryMax time.Duration
	// LookMin and LookMax bound the delay before the next look.
	LookMin, LookMax time.Duration
}

// DefaultPolicy suits the real cloud (dds-api.md §5.3, §6.5, §7.1).
func DefaultPolicy() Policy {
	return Policy{
		CallTimeout:      10 * time.Second,
		Lease:            13 * time.Second,
		VisibilityWindow: 2 * time.Minute,
		CreateDeadline:   24 * time.Hour,
		BuildDeadline:    2 * time.Hour,
		PollInterval:     time.Second,
		DetectionTarget:  5 * time.Second,
		UsualMin:         5 * time.Minute,
		UsualMax:         20 * time.Minute,
		RetryMin:         2 * time.Second,
		RetryMax:         time.Minute,
		LookMin:          time.Second,
		LookMax:          30 * time.Second,
	}
}

// Settle is how long after a claim nothing of its call can appear unseen any more.
func (p Policy) Settle() time.Duration { return p.CallTimeout + p.VisibilityWindow }

// retryDelay is the wait before the call after the n-th. What the cloud asked
// for counts, up to ten times our own limit.
func (p Policy) retryDelay(n int, asked time.Duration) time.Duration {
	return max(expDelay(p.RetryMin, p.RetryMax, n), min(asked, 10*p.RetryMax))
}

// lookDelay is the wait before the look after the n-th.
func (p Policy) lookDelay(n int) time.Duration { return expDelay(p.LookMin, p.LookMax, n) }

// expDelay is the n-th delay of an exponential series with jitter, n from 1.
func expDelay(first, limit time.Duration, n int) time.Duration {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first), backoff.WithMaxInterval(limit), backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.3), backoff.WithMaxElapsedTime(0))
	d := b.NextBackOff()
	for range min(n, 30) - 1 {
		d = b.NextBackOff()
	}
	return min(d, limit)
}
