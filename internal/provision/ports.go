package provision

import (
	"context"
	"encoding/json"
	"time"
)

// Served is what a worker can act for: the projects of one region.
type Served struct {
	Region   string
	Projects []string
}

// ---- the front door ----

// Message is one delivery of a request.
type Message struct {
	ID          string // the publisher's id, or one derived from the stream
	ProjectID   string // empty: the worker's own
	RequestedBy string
	Traceparent string
	Body        Body
	ReceivedAt  time.Time // when the stream stored it
	Sequence    uint64    // its place in the stream
	Problem     string    // set when the headers themselves cannot be accepted
	Settle      Settler
}

// Settler tells the stream what became of a delivery. None of them waits for
// the server: a lost answer only means another delivery, which is harmless.
type Settler interface {
	Ack() error                // it is in the database
	Term(reason string) error  // it can never be accepted, and that is recorded
	Nak(d time.Duration) error // deliver it again after d
}

// Inbox hands out deliveries. Receive blocks until there is at least one and
// returns at most max of them.
type Inbox interface {
	Receive(ctx context.Context, max int) ([]Message, error)
}

// RejectedCopies keeps copies of refused messages. Copy never blocks and may
// drop: the record is in the database.
type RejectedCopies interface {
	Copy(Rejection)
}

// EventPublisher publishes events.
type EventPublisher interface {
	// Publish puts the events into the stream, in their order, behind the message at
	// after, which must be its last. Where it is not, Publish tells what is there
	// instead and publishes nothing. What it returns holds even beside an error, and
	// without one it always tells something new.
	Publish(ctx context.Context, after uint64, events []Event) (Published, error)
}

// Event is one thing that happened to a request.
type Event struct {
	ID         int64       `json:"id"`
	RequestID  string      `json:"request_id"`
	At         time.Time   `json:"at"`
	Kind       string      `json:"kind"`
	State      State       `json:"state"`
	Progress   *int        `json:"progress,omitempty"` // percent
	InstanceID string      `json:"instance_id,omitempty"`
	JobID      string      `json:"job_id,omitempty"`
	Error      *EventError `json:"error,omitempty"`

	// Concerns is the stream sequence of the one message that a refusal is
	// about; 0 for all other events.
	Concerns uint64 `json:"-"`
	// Batch is the one of the outbox that it lies in; 0 once it is published.
	Batch int64 `json:"-"`
	// Sequence is the place in the stream of its last event; 0 for all other ones.
	Sequence uint64 `json:"-"`
}

// EventError is why a request waits, failed or was refused.
type EventError struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
	Class   string `json:"class,omitempty"`
}

// Published tells what the stream of events holds: behind the message at After and
// up to the one at Last the events with these ids and those of these batches of the
// outbox, and none of ours beside them.
type Published struct {
	After, Last  uint64
	IDs, Batches []int64
}

// ---- the cloud ----

// InstanceCreator calls the cloud's create API once; it never repeats.
type InstanceCreator interface {
	CreateInstance(ctx context.Context, projectID string, body []byte) (Created, error)
}

// Created is the cloud's answer to an accepted create call (dds-api.md §2.5).
type Created struct {
	InstanceID     string
	JobID          string // empty for a prepaid order
	OrderID        string // only for a prepaid order
	Status         string // the instance's, usually "creating"
	HTTPStatus     int
	CloudRequestID string
}

// InstanceDeleter starts the deletion of an instance (dds-api.md §4.4) and returns
// the job that does it, empty if none is named. ClassGone: it does not exist.
type InstanceDeleter interface {
	DeleteInstance(ctx context.Context, projectID, instanceID string) (jobID, cloudRequestID string, err error)
}

// InstanceLister lists instances, newest first (dds-api.md §4.1).
type InstanceLister interface {
	ListInstances(ctx context.Context, projectID string, q InstanceQuery) (InstancePage, error)
}

// InstanceQuery filters a list; empty fields do not.
type InstanceQuery struct {
	ID     string
	Name   string // exact
	Mode   string // "Sharding", "ReplicaSet", "Single"
	Offset int    // counts instances
	Limit  int    // 1 to 100; 0: 100
	// Wanted are the ids that are to be read; nil: all. Others come empty, in their
	// places; those that are still being built, or false here because all of it is
	// known, come with what decides that and Tags.
	Wanted map[string]bool
}

// InstancePage is one page of a list.
type InstancePage struct {
	Instances      []Instance
	Total          int
	CloudRequestID string
}

// Instance as the cloud lists it (dds-api.md §4.3).
type Instance struct {
	ID        string
	Name      string
	Status    string   // "creating", "normal", "createfail", …
	Actions   []string // operations that are running
	Mode      string
	Datastore string // type
	Version   string
	Port      string
	Region    string
	VPCID     string
	SubnetID  string
	Created   string            // no zone: only good for comparing with its like
	Tags      map[string]string // empty where the dialect has none
	Addresses []string          // private addresses of its nodes, with port
	Detail    json.RawMessage   // the whole item as listed; holds no secret
}

// JobReader reads what the cloud's jobs are doing (dds-api.md §3).
type JobReader interface {
	// Job reads one job. Its class is ClassGone while the job is not known yet.
	Job(ctx context.Context, projectID, jobID string) (Job, error)
	// Jobs reads a page of the jobs that started in a window of at most 30 days.
	// Its class is ClassNotOffered where the cloud has no such list.
	Jobs(ctx context.Context, projectID string, w JobWindow) (JobPage, error)
}

// JobWindow selects a page of the job list.
type JobWindow struct {
	From, To time.Time
	Name     string // as Job.Name; empty: any
	Status   string // as Job.Status; empty: any
	Offset   int
	Limit    int // 1 to 100; 0: 100
}

// JobPage is a page of the job list; one shorter than the limit is the last.
type JobPage struct {
	Jobs []Job
}

// Job of the cloud that builds an instance.
type Job struct {
	ID         string
	Name       string
	InstanceID string
	Status     string // "Running", "Completed", "Failed"
	Progress   int    // percent; 0 if it was not told
	FailReason string
	Created    time.Time // zero if it was not told
	Ended      time.Time // says nothing about completion
}

// The values of Job.Status and the instance states that decide something.
const (
	JobRunning   = "Running"
	JobCompleted = "Completed"
	JobFailed    = "Failed"

	InstanceNormal     = "normal"
	InstanceCreating   = "creating"
	InstanceCreateFail = "createfail"
	InstanceFrozen     = "frozen"

	ActionDelete = "DELETE_INSTANCE"
)

// ---- secrets ----

// Sealer keeps passwords sealed in the database.
type Sealer interface {
	// Seal seals a password that came in the clear. It opens only with the same
	// context.
	Seal(password Secret, context string) ([]byte, error)
	// Keep takes what a publisher sealed as it came, and does not open it. Its
	// error says what is allowed.
	Keep(sealed string) ([]byte, error)
	// Open opens both. What can never be opened is ErrSealBroken; any other error
	// means that another worker may hold the key.
	Open(sealed []byte, context string) (Secret, error)
	// Kept reports whether it is what a publisher sealed, which nobody has seen open.
	Kept(sealed []byte) bool
}

// ---- the store: one small interface for each loop; those of the audit, the budget,
// what builds take and pruning stand beside what needs them ----

// IntakeStore keeps what arrives.
type IntakeStore interface {
	// Accept writes all requests in one transaction and tells for each what it
	// found. Of those that are new and need not look first it claims what q lets it,
	// as ClaimCreates would; nothing if its limit is 0. Errors that are ErrUnstorable
	// come from a row of the batch.
	Accept(ctx context.Context, batch []NewRequest, q ClaimQuery) ([]Acceptance, error)
	// Reject records refused messages, each once however often it is delivered, and
	// none that is a request already: other rules may have held where it was taken in.
	// It tells which those are.
	Reject(ctx context.Context, batch []Rejection) (taken []bool, err error)
}

// CreateStore is what the creator needs.
type CreateStore interface {
	// ClaimCreates takes due pending requests, records the intent to call for
	// each and returns them. They are this worker's until the lease ends.
	ClaimCreates(ctx context.Context, q ClaimQuery) ([]CreateClaim, error)
	// RecordCreates writes outcomes. One whose fencing number is not the
	// request's any more changes its attempt and nothing else.
	RecordCreates(ctx context.Context, batch []CreateResult) error
}

// LookStore is what the reconciler needs.
type LookStore interface {
	// ClaimLooks takes due requests that must be looked for: those whose lease
	// ended, whose outcome is unknown, and those that look before they call.
	ClaimLooks(ctx context.Context, q ClaimQuery) ([]LookClaim, error)
	// KeepLook makes a claim hold for a lease from now, or tells that it is not the
	// last one any more.
	KeepLook(ctx context.Context, requestID string, fence int64, lease time.Duration) (ok bool, err error)
	RecordLooks(ctx context.Context, batch []LookResult) error
	// NoteMarksSeen notes that a mark of ours came back in a list of the project, so
	// that tags can be relied on there.
	NoteMarksSeen(ctx context.Context, projectID string) error
	// KnownInstances tells which of the ids are recorded for some request, or are
	// orphans that are being deleted.
	KnownInstances(ctx context.Context, ids []string) (map[string]bool, error)
}

// PollStore is what the poller needs.
type PollStore interface {
	// ClaimPolls takes instances whose next look is due by moving it forward.
	ClaimPolls(ctx context.Context, q ClaimQuery) ([]PollClaim, error)
	// KeepPoll puts the next look off until a lease from now, or tells that nobody needs
	// to look any more.
	KeepPoll(ctx context.Context, instanceID string, lease time.Duration) (ok bool, err error)
	RecordPolls(ctx context.Context, batch []PollResult) error
	NoteMarksSeen(ctx context.Context, projectID string) error
	BuildStore
}

// OtherWorkers are those on the same database.
type OtherWorkers interface {
	// Wake tells them that there are requests which are due and which nobody has
	// claimed.
	Wake(ctx context.Context) error
	// Listen calls woken when another worker tells so, and when one may have: at its
	// begin. It returns when ctx ends or nothing can be heard any more.
	Listen(ctx context.Context, woken func()) error
}

// RelayStore is the outbox.
type RelayStore interface {
	// Lead returns a function that gives the lead back, or ok false while
	// another process has it.
	Lead(ctx context.Context) (release func(), ok bool, err error)
	// Unpublished returns events that are not noted as published, in the order of each
	// request, and the place in the stream up to which everything is noted. The events
	// come in whole batches, in as many as the limit has room for, but at least one.
	Unpublished(ctx context.Context, limit int) (events []Event, after uint64, err error)
	// MarkPublished notes what the stream holds. The place is noted only if it still
	// is what p begins at.
	MarkPublished(ctx context.Context, p Published) error
	// Waited returns how long the oldest event that is not noted as published has
	// waited; 0: there is none.
	Waited(ctx context.Context) (time.Duration, error)
}
