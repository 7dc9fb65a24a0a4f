package provision

import "slices"

// State of a request. The database holds the same names in a CHECK, and
// docs/architecture.md the same picture; a test compares the three.
type State string

const (
	// Pending: accepted, due at its next_attempt_at; says what it waits for.
	Pending State = "pending"
	// Creating: the intent to call is recorded; the call may have happened.
	Creating State = "creating"
	// Building: the instance's id is known and the cloud's job is running.
	Building State = "building"
	// Ready: the instance is normal with no action running.
	Ready State = "ready"
	// Failed: ended; code, message and class say why.
	Failed State = "failed"
	// Rejected: could never be accepted; every broken rule is listed.
	Rejected State = "rejected"
	// Cancelled: stopped on request; what had come to be is deleted.
	Cancelled State = "cancelled"
)

// Step is one allowed change of state and the reason for which it happens.
type Step struct {
	From, To State
	Why      string
}

// Steps is the whole state machine. Nothing else may change a state; tests hold
// what is decided to it.
func Steps() []Step {
	return []Step{
		{Pending, Creating, "claimed: the intent to call, or to look first, is recorded"},
		{Pending, Cancelled, "cancelled, and no call can have run"},
		{Creating, Building, "the cloud accepted the call, or a look found its instance"},
		{Creating, Pending, "the call surely did not run, or a conclusive look found nothing"},
		{Creating, Creating, "the outcome is unknown: look, and look again"},
		{Creating, Failed, "the cloud refused it for good, or its deadline passed and a conclusive look found nothing"},
		{Creating, Cancelled, "cancelled, and no call can have run or a conclusive look found nothing"},
		{Building, Ready, "the instance is normal and no action is running"},
		{Building, Failed, "the job or the instance failed or is gone, or the deadline passed"},
		{Building, Cancelled, "cancelled, and the deletion is confirmed"},
		{Failed, Pending, "somebody retries it"},
	}
}

// CanGo reports whether the state machine has a step between the two states.
func CanGo(from, to State) bool {
	return slices.ContainsFunc(Steps(), func(s Step) bool { return s.From == from && s.To == to })
}

// States lists every state in the order of a request's life.
func States() []State {
	return []State{Pending, Creating, Building, Ready, Failed, Rejected, Cancelled}
}

// Ended reports whether the state is the end of a request's life, unless
// somebody retries it.
func (s State) Ended() bool {
	return s == Ready || s == Failed || s == Rejected || s == Cancelled
}
