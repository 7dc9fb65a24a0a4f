package provision

import (
	"encoding/json"
	"time"
)

// NewRequest is a request that keeps all rules, as the store takes it in.
type NewRequest struct {
	ID             string
	ProjectID      string
	Region         string
	Name           string
	Mode           string
	Prepaid        bool
	Spec           []byte // the create body without its password
	SealedPassword []byte // nil if none was given
	Fingerprint    [32]byte
	RequestedBy    string
	Traceparent    string
	ReceivedAt     time.Time
	Sequence       uint64
	WaitingFor     string // set if no worker serves it that we know of
}

// Acceptance is what became of a NewRequest.
type Acceptance struct {
	Found Found
	Claim *CreateClaim // of one that was accepted and claimed in the same statement
}

// Found is what the store found for a NewRequest.
type Found int

const (
	// Accepted: it is new and now in the database.
	Accepted Found = iota
	// Duplicate: the same request is there already.
	Duplicate
	// Conflicting: another request has the same id.
	Conflicting
)

// Rejection is a message that can never be accepted.
type Rejection struct {
	RequestID   string
	ProjectID   string
	Name        string // if it could be read
	Mode        string // if it could be read
	Code        string // CodeBody, CodeRules, …
	Reasons     Violations
	Body        json.RawMessage // without secrets; nil if it is not JSON
	Size        int             // of the body as it came, bytes
	RequestedBy string
	ReceivedAt  time.Time
	Sequence    uint64
}

// Codes of a rejection.
const (
	CodeHeaders    = "HEADERS"    // a header cannot be accepted
	CodeBody       = "BODY"       // the body is not a JSON object we can read
	CodeRules      = "RULES"      // the body breaks rules
	CodeIDReused   = "ID_REUSED"  // a known id came with another body
	CodeUnstorable = "UNSTORABLE" // the database will not take it
	CodeLost       = "LOST"       // it was taken in, and the database restored from before that
)

// Kinds of an event that are told apart here; the others stand beside what the store
// writes.
const (
	KindLooked  = "looked"
	KindAdopted = "adopted"
	KindOrphan  = "orphan" // about an instance that its request does not hold
)

// ClaimQuery asks for rows to act on.
type ClaimQuery struct {
	Served Served
	Worker string // who claims
	Limit  int
	Most   map[string]int // of a project; those that are absent: Limit
	Lease  time.Duration  // how long the claim holds
	// Settle is how long from the claim until a call made under it can no longer
	// come into being unseen: the call's deadline and the visibility window.
	Settle time.Duration
	// Slack is how far ahead of its due time a row may be taken.
	Slack time.Duration
}

// CreateClaim is a request that this worker may call the cloud for.
type CreateClaim struct {
	RequestID      string
	Fence          int64 // the fencing number
	Attempt        int   // number of the attempt whose intent is recorded
	ProjectID      string
	Name           string
	Spec           []byte
	SealedPassword []byte
	Mark           string // the request's own tag value, a UUID
	Prepaid        bool
	LastCode       string        // error code of the attempt before
	LastClass      Class         // and its class
	Repeats        int           // how often in a row it came
	Age            time.Duration // since the first call, without what was spent waiting; 0 if this is it
}

// Outcome of an attempt (attempts.outcome in SQL).
type Outcome string

const (
	OutcomeCreated     Outcome = "created"      // the cloud accepted it
	OutcomeNotExecuted Outcome = "not_executed" // it surely did not run
	OutcomeBusy        Outcome = "busy"         // told to come later; it may have run
	OutcomeUnknown     Outcome = "unknown"      // it may have run
	OutcomeConflict    Outcome = "conflict"     // the name exists
	OutcomePermanent   Outcome = "permanent"    // refused for good
)

// Failure is why something did not work, as it is kept and shown.
type Failure struct {
	Code           string
	Message        string
	Class          Class
	HTTPStatus     int
	CloudRequestID string
}

// CreateResult is the outcome of an attempt and what follows from it.
type CreateResult struct {
	RequestID string
	Fence     int64
	Attempt   int
	Outcome   Outcome
	Failure   *Failure // nil if it was created
	Created   Created
	Took      time.Duration
	Next      Next
}

// Next is where a request goes from here.
type Next struct {
	State      State
	Delay      time.Duration // until it is due again
	LookFirst  bool          // look before the next call
	WaitingFor string        // what it waits for, in words
}

// claimable reports whether anybody may claim it for a call at once.
func (n Next) claimable() bool { return n.State == Pending && !n.LookFirst && n.Delay == 0 }

// LookClaim is a request whose call may have happened, or that must be looked
// for before its next call.
type LookClaim struct {
	RequestID    string
	Fence        int64
	ProjectID    string
	Name         string
	Spec         []byte
	Mark         string
	Prepaid      bool
	Looks        int      // looks since the last call, this one included
	LastOutcome  Outcome  // of the last attempt; empty if it never came
	LastCode     string   // its error code
	LastMessage  string   // its message
	MayHaveRun   bool     // some call of ours may have made an instance
	Restored     bool     // and the database may not know all that was called
	Named        []string // ids that answers of the cloud named and nobody holds
	Settled      bool     // an earlier call can no longer appear unseen
	MarksSeen    bool     // tags can be relied on in this project
	TagsSent     bool     // our calls carried tags, with this as the installation's
	Installation string
	Namesakes    []string      // ids of that name before the first call; nil: not noted
	Age          time.Duration // since the first call, without what was spent waiting
	Cancelling   bool          // somebody wishes it cancelled
	Retried      bool          // what earlier attempts left is to be found before the next call
	Held         string        // the instance that is recorded for it, from before a retry
	HeldFailed   bool          // the cloud's job that was to build that one failed
	HeldOrder    string        // that one's prepaid order, if no list showed it yet
	Gone         []string      // the instances recorded for it that were taken for gone
}

// LookResult is what a look found and what follows from it.
type LookResult struct {
	RequestID      string
	Fence          int64
	Kind           string // of the event: KindLooked or KindAdopted
	Detail         string // what was seen, in words
	Failure        *Failure
	Next           Next
	Adopt          *Instance // the instance to take
	Orphans        []Instance
	Namesakes      []string // set when a look before the first call noted them
	Gone           string   // the recorded instance, when it exists no more
	Unsent         bool     // the look did not leave: the time until the next is not counted
	CloudRequestID string
}

// Where tags cannot be relied on, one request at a time looks who has its name before
// its first call. The others wait for this, and look again so much later.
const (
	NamesakeWait  = "another request of the same name to end, because this cloud does not show tags"
	NamesakeDelay = 10 * time.Second
)

// PollClaim is an instance being built.
type PollClaim struct {
	RequestID  string
	InstanceID string
	JobID      string // empty: follow the instance
	ProjectID  string
	Mode       string
	Flavor     string // spec codes of its flavor, separated by commas
	Mark       string
	Looks      int
	MarksSeen  bool
	JobStatus  string // as last seen
	Progress   int
	Age        time.Duration // since the instance was created, or the request retried
	Since      time.Duration // since the last look, or its creation
	OrderID    string        // of a prepaid order
	Seen       bool          // a list showed the instance before
	Settled    bool          // by now every list would show it
	Missed     bool          // the last look at it did not find it
	WaitingFor string        // as recorded
	Named      bool          // an answer of the cloud to our own call named it
	Cancelling bool          // somebody wishes it cancelled
	CancelAge  time.Duration // since then
	Deleting   bool          // the cloud has accepted to delete it
	DeleteAge  time.Duration // since then
}

// PollResult is what a poll saw and what follows from it.
type PollResult struct {
	RequestID  string
	InstanceID string
	JobID      string
	JobStatus  string
	Progress   int
	FailReason string
	JobCreated time.Time // zero: not told
	JobEnded   time.Time
	Instance   *Instance // set when the instance itself was read
	Failure    *Failure
	State      State         // Building, Ready, Failed or Cancelled
	Delay      time.Duration // until the next look, while Building
	WaitingFor string        // while Building; empty: for its job
	Changed    bool          // worth an event
	Cancelling bool          // the claim knew of the wish to cancel
	Deleting   bool          // the cloud has just accepted to delete it
	Gone       bool          // it was not there; it exists no more unless State is Building
	// CloudRequestID is of the call that deleted it or was refused to.
	CloudRequestID string

	decided time.Time // the delay counts from then
}
