package provision

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Class says what a failed call to the cloud means for the one who made it.
// Adapters map every answer to exactly one class (dds-api.md §6).
type Class string

const (
	// ClassAuth: the token was refused; the call did not run.
	ClassAuth Class = "auth"
	// ClassForbidden: the credentials may not do this.
	ClassForbidden Class = "forbidden"
	// ClassInvalid: a parameter is wrong; the same call will never work.
	ClassInvalid Class = "invalid"
	// ClassConflict: the name exists already (DBS.200022).
	ClassConflict Class = "conflict"
	// ClassQuota: a quota is used up, or the account has not paid.
	ClassQuota Class = "quota"
	// ClassRate: throttled before anything was done.
	ClassRate Class = "rate"
	// ClassBusy: told to come later, without a promise that nothing was done.
	ClassBusy Class = "busy"
	// ClassGone: the object does not exist (any more).
	ClassGone Class = "gone"
	// ClassNotOffered: this cloud does not have the API that was called.
	ClassNotOffered Class = "not_offered"
	// ClassServer: the cloud or its gateway failed; the call may have run.
	ClassServer Class = "server"
	// ClassLost: no answer, or one that cannot be read; the call may have run.
	ClassLost Class = "lost"
	// ClassNotSent: the call never left: no connection, no token, no time.
	ClassNotSent Class = "not_sent"
)

// CloudError is a call to the cloud that did not succeed.
type CloudError struct {
	Op        string // what was called: "create instance", "log in"
	Class     Class
	Limit     int    // how often in a row Class holds for the same Code; 0: always
	Then      Class  // what it means from then on
	Status    int    // HTTP status; 0 without an answer
	Code      string // the cloud's error code; empty if the answer had none
	Message   string // the cloud's words, or ours about the transport
	RequestID string // the cloud's X-Request-Id
	// RetryAfter is what the cloud asked for; 0 if it did not ask.
	RetryAfter time.Duration
	Err        error // the cause, if it was not an answer of the cloud
}

// Error names the call, the code, the cloud's words and its request id.
func (e *CloudError) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	b.WriteString(": ")
	switch {
	case e.Code != "":
		b.WriteString(e.Code + ": ")
	case e.Status != 0:
		fmt.Fprintf(&b, "HTTP %d: ", e.Status)
	}
	b.WriteString(e.Message)
	if e.RequestID != "" {
		b.WriteString(" (cloud request " + e.RequestID + ")")
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *CloudError) Unwrap() error { return e.Err }

// Meaning returns the class after the same code came repeats times in a row,
// this time included.
func (e *CloudError) Meaning(repeats int) Class {
	if e.Limit > 0 && repeats > e.Limit {
		return e.Then
	}
	return e.Class
}

// AsCloudError returns err as a CloudError. What is none was not foreseen, so it
// is taken for the worst: a call that may have run.
func AsCloudError(err error) *CloudError {
	if ce, ok := errors.AsType[*CloudError](err); ok {
		return ce
	}
	return &CloudError{Op: "call", Class: ClassLost, Message: err.Error(), Err: err}
}

// ErrSealBroken marks an error of a Sealer that no other key can cure.
var ErrSealBroken = errors.New("what is sealed cannot be opened by anybody")

// ErrUnstorable marks an error of a store that says that a row of the batch can
// never be written, so that the batch is worth halving.
var ErrUnstorable = errors.New("the database will not take this row")
