package provision

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"time"
)

// Intake takes requests from the stream into the database and acknowledges them
// only then.
type Intake struct {
	Inbox  Inbox
	Store  IntakeStore
	Copies RejectedCopies
	Sealer Sealer
	Rules  Rules
	Served Served
	// RequireSealed refuses passwords that come in the clear.
	RequireSealed bool
	// Standardize turns JSON with comments into JSON. It is asked only about a
	// body that is not JSON.
	Standardize func([]byte) ([]byte, error)
	Batch       int      // messages in one statement
	Backlog     *Backlog // nil: any number may wait
	Health      *Health
	Log         *slog.Logger
	// Creator claims in the insert what it can call for at once; nil: nobody does.
	Creator *Creator
	// Accepted is rung when there is something new, Waiting when there are requests
	// that nobody has claimed yet.
	Accepted, Waiting []Bell
}

// redeliver is how long a message rests that could not be taken in.
const redeliver = 5 * time.Second

// Run takes requests in until ctx ends.
func (in *Intake) Run(ctx, work context.Context) {
	repeat(ctx, "intake", in.Health, NewBell(), func(ctx context.Context) (bool, error) { return in.Round(ctx, work) })
}

// Round receives one batch and takes it in.
func (in *Intake) Round(ctx, work context.Context) (more bool, err error) {
	most := in.Creator.inStep(ctx, in.Batch)
	if in.Backlog != nil {
		room, wait, err := in.Backlog.room(ctx)
		if err != nil {
			return false, err
		}
		if room == 0 {
			Bell(nil).wait(ctx, wait)
			return true, nil
		}
		most = min(most, room)
	}
	batch, err := in.Inbox.Receive(ctx, most)
	if err != nil || len(batch) == 0 {
		return false, err
	}
	if in.Backlog != nil {
		in.Backlog.added += len(batch)
	}
	return true, in.take(work, batch)
}

// incoming is a message on its way: either a request or a rejection.
type incoming struct {
	msg      Message
	request  NewRequest
	rejected *Rejection
}

// take writes a batch and settles each of its messages.
func (in *Intake) take(ctx context.Context, batch []Message) error {
	all := make([]*incoming, len(batch))
	for i, m := range batch {
		all[i] = in.read(m)
	}
	err := in.accept(ctx, all)
	if err == nil {
		err = in.reject(ctx, all)
	}
	if err != nil { // the worker stops: somebody else takes them
		for _, m := range batch {
			_ = m.Settle.Nak(redeliver)
		}
		return fmt.Errorf("take in %d messages: %w", len(batch), err)
	}
	return nil
}

// read checks one message and seals its password.
func (in *Intake) read(m Message) *incoming {
	i := &incoming{msg: m}
	projectID := m.ProjectID
	if projectID == "" && len(in.Served.Projects) > 0 {
		projectID = in.Served.Projects[0]
	}
	if problem := in.problem(m, projectID); problem != nil {
		i.refuse(CodeHeaders, projectID, Violations{*problem})
		return i
	}
	spec, err := in.Rules.Parse(m.Body)
	if body, ok := in.withoutComments(m.Body, err); ok {
		i.msg.Body = body
		spec, err = in.Rules.Parse(body)
	}
	if err != nil {
		i.refuse(CodeRules, projectID, violationsOf(err))
		return i
	}
	i.request = NewRequest{
		ID: m.ID, ProjectID: projectID, Region: spec.Region, Name: spec.Name, Mode: spec.Mode, Prepaid: spec.Prepaid,
		Spec: spec.JSON, Fingerprint: spec.Fingerprint(projectID), RequestedBy: m.RequestedBy,
		Traceparent: m.Traceparent, ReceivedAt: m.ReceivedAt, Sequence: m.Sequence,
		WaitingFor: in.Served.unserved(projectID, spec.Region),
	}
	if problem := in.seal(i, spec); problem != nil {
		i.refuse(CodeRules, projectID, Violations{*problem})
	}
	return i
}

// seal gives the request its sealed password, and tells what is wrong with it.
func (in *Intake) seal(i *incoming, spec Spec) *Violation {
	var err error
	switch {
	case spec.Sealed != "":
		if i.request.SealedPassword, err = in.Sealer.Keep(spec.Sealed); err != nil {
			return &Violation{Path: "sealed_password", Given: redacted, Allowed: err.Error()}
		}
	case spec.Password.IsZero():
	case in.RequireSealed:
		return &Violation{Path: "password", Given: redacted,
			Allowed: "nothing in the clear: publish with enqueue, which seals by itself, or put what 'age --armor' makes into sealed_password"}
	default:
		if i.request.SealedPassword, err = in.Sealer.Seal(spec.Password, i.msg.ID); err != nil {
			return &Violation{Path: "password", Given: redacted, Allowed: "one that can be sealed: " + err.Error()}
		}
	}
	return nil
}

// projectIDs become a part of the cloud's URLs, so nothing else may pass.
var projectIDs = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// IsProjectID reports whether s may be the id of a project: 1 to 64 letters,
// digits, _ and -.
func IsProjectID(s string) bool { return projectIDs.MatchString(s) }

func (in *Intake) problem(m Message, projectID string) *Violation {
	switch {
	case m.Problem != "":
		return &Violation{Path: "headers", Given: "see allowed", Allowed: m.Problem}
	case !IsProjectID(projectID):
		return &Violation{Path: "headers.Dds-Project-Id", Given: fmt.Sprintf("%.80q", projectID),
			Allowed: "1 to 64 letters, digits, _ and -"}
	}
	return nil
}

// maxComments bounds what is read as JSON with comments: its reader recurses.
const maxComments = 1000

// withoutComments returns the body as plain JSON if it was refused and comments
// or trailing commas were the reason.
func (in *Intake) withoutComments(body []byte, refused error) ([]byte, bool) {
	if refused == nil || in.Standardize == nil || len(body) > MaxBody {
		return nil, false
	}
	if _, isJSON := RedactBody(body); isJSON {
		return nil, false
	}
	brackets := 0
	for _, c := range body {
		if c == '[' || c == '{' {
			brackets++
		}
	}
	if brackets > maxComments {
		return nil, false
	}
	plain, err := in.Standardize(body)
	return plain, err == nil
}

// unserved says what a request waits for that this worker cannot serve.
func (s Served) unserved(projectID, region string) string {
	if region == s.Region && slices.Contains(s.Projects, projectID) {
		return ""
	}
	return fmt.Sprintf("a worker that serves project %s in region %q; the one that took it in serves %v in %q",
		projectID, region, s.Projects, s.Region)
}

// accept writes the requests of a batch and acknowledges them. Messages that
// bear one id with different bodies go one after the other, so that the database
// decides whose the id is.
func (in *Intake) accept(ctx context.Context, all []*incoming) (err error) {
	for len(all) > 0 && err == nil {
		all, err = in.acceptFirst(ctx, all)
	}
	return err
}

// acceptFirst accepts the first body of each id, wherever it comes again, and returns
// the messages that bear one of these ids with another body.
func (in *Intake) acceptFirst(ctx context.Context, all []*incoming) (later []*incoming, err error) {
	var batch []*incoming
	first, twins := map[string]*incoming{}, []*incoming{}
	for _, i := range all {
		if i.rejected != nil {
			continue
		}
		switch f := first[i.request.ID]; {
		case f == nil:
			first[i.request.ID] = i
			batch = append(batch, i)
		case f.request.Fingerprint != i.request.Fingerprint:
			later = append(later, i)
		default:
			twins = append(twins, i)
		}
	}
	if len(batch) == 0 {
		return nil, nil
	}
	defer ring(in.Accepted)
	err = writeAll(ctx, in.Health, batch, in.write, func(_ context.Context, i *incoming, err error) error {
		i.refuse(CodeUnstorable, i.request.ProjectID, Violations{{Path: "body", Given: "see the message's copy", Allowed: err.Error()}})
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, i := range twins {
		if f := first[i.request.ID]; f.rejected == nil {
			_ = i.msg.Settle.Ack()
		} else {
			i.refuse(f.rejected.Code, f.rejected.ProjectID, f.rejected.Reasons)
		}
	}
	return later, nil
}

// write takes in one batch, and hands the creator what it claimed on the way.
func (in *Intake) write(ctx context.Context, batch []*incoming) error {
	rows := make([]NewRequest, len(batch))
	for n, i := range batch {
		rows[n] = i.request
	}
	var found []Acceptance
	err := in.Creator.claimWith(func(q ClaimQuery) (claims []CreateClaim, err error) {
		found, err = in.Store.Accept(ctx, rows, q)
		for _, f := range found {
			if f.Claim != nil {
				claims = append(claims, *f.Claim)
			}
		}
		return claims, err
	})
	if err != nil {
		return err
	}
	waiting := false
	for n, i := range batch {
		if found[n].Found == Conflicting {
			i.reuse()
			continue
		}
		_ = i.msg.Settle.Ack()
		waiting = waiting || found[n].Found == Accepted && found[n].Claim == nil
	}
	if waiting {
		ring(in.Waiting)
	}
	return nil
}

// reject records the refused messages of a batch and ends their delivery.
func (in *Intake) reject(ctx context.Context, all []*incoming) error {
	var batch []*incoming
	for _, i := range all {
		if i.rejected != nil {
			batch = append(batch, i)
		}
	}
	if len(batch) == 0 {
		return nil
	}
	defer ring(in.Accepted)
	return writeAll(ctx, in.Health, batch, in.writeRejections, func(ctx context.Context, i *incoming, err error) error {
		// What cannot be kept as it came is kept without its words.
		i.rejected.Body, i.rejected.Name, i.rejected.Mode = nil, "", ""
		i.rejected.Reasons = Violations{{Path: "body", Given: "not storable", Allowed: "text that Postgres can hold"}}
		return writeAll(ctx, in.Health, []*incoming{i}, in.writeRejections, func(_ context.Context, i *incoming, err error) error {
			in.Log.Error("a rejection cannot be recorded", "sequence", i.msg.Sequence, "code", i.rejected.Code, "error", err)
			return i.msg.Settle.Term(i.rejected.Code)
		})
	})
}

func (in *Intake) writeRejections(ctx context.Context, batch []*incoming) error {
	rows := make([]Rejection, len(batch))
	for n, i := range batch {
		rows[n] = *i.rejected
	}
	taken, err := in.Store.Reject(ctx, rows)
	if err != nil {
		return err
	}
	for n, i := range batch {
		if taken[n] {
			_ = i.msg.Settle.Ack()
			continue
		}
		in.Copies.Copy(rows[n])
		_ = i.msg.Settle.Term(i.rejected.Code)
	}
	return nil
}

// reuse refuses a message whose id belongs to another request.
func (i *incoming) reuse() {
	i.refuse(CodeIDReused, i.request.ProjectID, Violations{{Path: "headers.Nats-Msg-Id", Given: fmt.Sprintf("%q", i.msg.ID),
		Allowed: "an id of its own: another request with another body has this one"}})
}

func (i *incoming) refuse(code, projectID string, reasons Violations) {
	r := Rejection{RequestID: i.msg.ID, ProjectID: projectID, Code: code, Reasons: reasons, Size: len(i.msg.Body),
		RequestedBy: i.msg.RequestedBy, ReceivedAt: i.msg.ReceivedAt, Sequence: i.msg.Sequence}
	if body, ok := RedactBody(i.msg.Body); ok && len(body) <= MaxBody {
		r.Body = body
		r.Name, r.Mode = peek(body)
	} else if code == CodeRules {
		r.Code = CodeBody
	}
	i.rejected = &r
}
