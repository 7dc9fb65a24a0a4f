package tokencache

import (
	"context"
	"fmt"
	"time"
)

// MaxPasswords is how many different passwords of a user may be refused before a
// new one has to wait like the others: IAM counts them together.
const MaxPasswords = 3

// Fleet is where all processes that log in as one user keep what they share: the
// token of each project, who is logging in, and how the last login failed. It
// keeps time by one clock of its own and gives durations, so that no process's
// clock matters. No method waits for another process.
type Fleet interface {
	// Look returns what is known about a project.
	Look(ctx context.Context, projectID string) (Entry, error)

	// Begin gives the caller the right to log in until the lease ends, and the
	// login's number. ok is false if somebody else logs in, or has begun to since
	// the Entry was read that had seen as its Logins.
	Begin(ctx context.Context, projectID string, seen int64, lease time.Duration) (login int64, ok bool, err error)

	// Succeed keeps the token that the login t.Generation brought, ends its lease
	// and forgets all failures of the user and the project. ok is false, and
	// nothing changes, if another login has begun since.
	Succeed(ctx context.Context, t Token) (ok bool, err error)

	// Fail records how a login failed and ends its lease; the zero Failure only
	// ends it. Nothing changes if another login has begun since.
	Fail(ctx context.Context, projectID string, login int64, f Failure) error
}

// Entry is what the fleet knows about a project's token.
type Entry struct {
	Token Token         // zero if there is none; its Life is that from its login to its end
	Age   time.Duration // since the login that brought the token

	Logins int64 // the number of the user's last login
	Busy   bool  // that login is under way

	Refusals int // logins of the user in a row whose credentials were refused
	Failures int // logins for the project in a row that failed for other reasons

	// Failure is why nobody may log in now, for as long as its Pause; nil if
	// somebody may.
	Failure *Failure
}

// Failure is a login that failed.
type Failure struct {
	Message     string
	Credentials bool          // they were refused: it concerns all projects of the user
	Pause       time.Duration // before the next login
}

// Error tells what failed and when it is tried again.
func (f *Failure) Error() string {
	next := fmt.Sprintf("the fleet logs in again in %s", f.Pause.Round(time.Second))
	if f.Credentials {
		next += ", and a worker with another password at once"
	}
	return f.Message + "; " + next
}

// Unwrap returns ErrCredentials where that applies.
func (f *Failure) Unwrap() error {
	if f.Credentials {
		return ErrCredentials
	}
	return nil
}
