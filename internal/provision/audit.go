package provision

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Auditor compares, from time to time, what the cloud lists with what is recorded.
// It is the part of the reconciler that asks not after one request but after all
// instances. What carries a mark of ours and is nobody's is recorded as an orphan;
// once it was seen in a later round too, and the quarantine is over, the policy says
// what is done with it. A list that could not be read whole concludes nothing.
type Auditor struct {
	Cloud        InstanceLister
	Deleter      InstanceDeleter
	Store        AuditStore
	Deletions    OrphanStore
	Served       Served
	Installation string // the value of the tag provision-by
	Interval     time.Duration
	Quarantine   time.Duration // from the first sighting to the first deed
	Policy       OrphanPolicy
	CallTimeout  time.Duration
	Window       time.Duration // how long a list may lag
	Health       *Health
	Log          *slog.Logger
	// Recorded is rung when there are events.
	Recorded []Bell
}

// AuditStore is what the audit needs.
type AuditStore interface {
	// ClaimAudit takes a project whose audit is due by moving it forward; ok is false
	// where none is.
	ClaimAudit(ctx context.Context, served Served, interval time.Duration) (c AuditClaim, ok bool, err error)
	// MarkFacts tells what is known of instances, by their ids. What was taken for gone
	// after a time still counts as recorded, because a list may lag.
	MarkFacts(ctx context.Context, listed []Instance, after time.Time) (map[string]MarkFacts, error)
	// RecordSightings writes those that still hold, and returns the ids of those that
	// are new.
	RecordSightings(ctx context.Context, c AuditClaim, seen []Sighting) (fresh []string, err error)
	// FinishAudit notes what a whole list no longer shows, applies the policy to what
	// is due for it, and returns what may be deleted. problem: the list could not be
	// read, and nothing is concluded.
	FinishAudit(ctx context.Context, c AuditClaim, listed []string, rules OrphanRules, problem error) ([]Orphan, error)
	NoteMarksSeen(ctx context.Context, projectID string) error
}

// OrphanStore records what is done with orphans.
type OrphanStore interface {
	// IntendDeletion records that an orphan is about to be deleted, if all that makes
	// it one still holds.
	IntendDeletion(ctx context.Context, o Orphan, rules OrphanRules) (ok bool, err error)
	RecordDeletion(ctx context.Context, d Deletion) error
}

// AuditClaim is a round of a project that this worker goes.
type AuditClaim struct {
	ProjectID string
	Region    string
	Round     int64
	BegunAt   time.Time
	MarksSeen bool
}

// OrphanRules say which orphans are due for what, and what is tried again when.
type OrphanRules struct {
	Installation string
	Quarantine   time.Duration
	Policy       OrphanPolicy
	Relist       time.Duration // until a list that could not be read is read again, at most
	Retry        time.Duration // until a deletion whose outcome was not recorded is asked for again
}

// relistPause is how long a list rests that could not be read.
const relistPause = time.Minute

// Run audits until ctx ends. Each project has a round of its own, so that a long list
// that is read slowly holds up no other project's.
func (a *Auditor) Run(ctx, work context.Context) {
	var rounds sync.WaitGroup
	defer rounds.Wait()
	projects := len(a.Served.Projects)
	underWay, failed, ended := newRoom(projects), make(chan error, projects), NewBell()
	repeat(ctx, "audit", a.Health, ended, func(ctx context.Context) (bool, error) {
		select {
		case err := <-failed:
			return true, err
		default:
		}
		served := a.Served
		served.Projects = underWay.without(served.Projects)
		c, ok, err := a.Store.ClaimAudit(ctx, served, a.Interval)
		if err != nil || !ok {
			return false, err
		}
		underWay.enter(c.ProjectID)
		rounds.Go(func() {
			defer func() { underWay.leave(c.ProjectID); ended.Ring() }()
			if err := a.audit(ctx, work, c); err != nil {
				failed <- err
			}
		})
		return true, nil
	})
}

// Round audits one project that is due. It is a turn of Run that waits for its end.
func (a *Auditor) Round(ctx, work context.Context) (more bool, err error) {
	c, ok, err := a.Store.ClaimAudit(ctx, a.Served, a.Interval)
	if err != nil || !ok {
		return false, err
	}
	return true, a.audit(ctx, work, c)
}

// audit goes a round. Nothing is begun once ctx has ended. All its calls are one
// errand, because those that delete follow from the list.
func (a *Auditor) audit(ctx, work context.Context, c AuditClaim) error {
	e := &errand{patient: ctx, limit: a.CallTimeout, until: time.Now().Add(a.CallTimeout)}
	listed, fresh, err := a.compare(e.in(ctx), work, c)
	if err != nil {
		_, failed := a.Store.FinishAudit(work, c, nil, a.rules(), err)
		return errors.Join(fmt.Errorf("audit project %s: %w", c.ProjectID, err), failed)
	}
	due, err := a.Store.FinishAudit(work, c, ids(listed), a.rules(), nil)
	if err != nil {
		return err
	}
	for _, o := range due {
		if ctx.Err() != nil {
			break
		}
		if err := a.remove(e.in(ctx), e.in(work), o); err != nil {
			return err
		}
	}
	if len(due) > 0 || fresh > 0 {
		ring(a.Recorded)
	}
	return nil
}

func (a *Auditor) rules() OrphanRules {
	return OrphanRules{Installation: a.Installation, Quarantine: a.Quarantine, Policy: a.Policy, Relist: relistPause, Retry: deletionPause}
}

// compare reads the whole list and records what is nobody's.
func (a *Auditor) compare(ctx, work context.Context, c AuditClaim) (listed []Instance, fresh int, err error) {
	listed, _, err = listWhole(ctx, a.Cloud, c.ProjectID, InstanceQuery{})
	if err != nil {
		return nil, 0, err
	}
	if len(listed) == 0 {
		return listed, 0, nil
	}
	facts, err := a.Store.MarkFacts(work, listed, c.BegunAt.Add(-a.Window))
	if err != nil {
		return nil, 0, err
	}
	shown := make(map[string]bool, len(listed))
	for _, i := range listed {
		shown[i.ID] = true
	}
	var seen []Sighting
	proved := false
	for _, i := range listed {
		f, by := facts[i.ID], i.Tags[TagInstallation]
		ours, unsigned := by == a.Installation, by == "" && f.RequestID != ""
		if !ours && !unsigned && !f.Gone {
			continue
		}
		proved = proved || ours && !f.Gone && f.RequestID != ""
		if s, orphan := judgeListed(i, f, shown[f.Holds], c.Round); orphan {
			seen = append(seen, s)
		}
	}
	if proved && !c.MarksSeen {
		if err := a.Store.NoteMarksSeen(work, c.ProjectID); err != nil {
			return nil, 0, err
		}
	}
	err = writeAll(work, a.Health, seen, func(ctx context.Context, batch []Sighting) error {
		ids, err := a.Store.RecordSightings(ctx, c, batch)
		fresh += len(ids)
		a.tell(c, batch, ids)
		return err
	}, a.recordBare(c))
	return listed, fresh, err
}

// tell logs each new orphan once.
func (a *Auditor) tell(c AuditClaim, batch []Sighting, fresh []string) {
	isFresh := map[string]bool{}
	for _, id := range fresh {
		isFresh[id] = true
	}
	for _, s := range batch {
		if isFresh[s.Instance.ID] {
			a.Log.Warn("found an instance of nobody's; see the table orphans", "instance", s.Instance.ID, "name", s.Instance.Name,
				"project", c.ProjectID, "request", s.RequestID, "why", s.Why, "policy", a.Policy)
		}
	}
}

// recordBare keeps a sighting whose words the database will not take, without
// them.
func (a *Auditor) recordBare(c AuditClaim) func(context.Context, Sighting, error) error {
	return func(ctx context.Context, s Sighting, cause error) error {
		bare := s
		bare.Instance = Instance{ID: s.Instance.ID, Tags: s.Instance.Tags}
		bare.Unknown, bare.Evidence = true, nil
		bare.Why = "what the cloud lists of it cannot be stored: " + cause.Error()
		return writeAll(ctx, a.Health, []Sighting{bare}, func(ctx context.Context, batch []Sighting) error {
			ids, err := a.Store.RecordSightings(ctx, c, batch)
			a.tell(c, batch, ids)
			return err
		}, func(_ context.Context, s Sighting, err error) error {
			a.Log.Error("an instance of nobody's cannot be stored", "instance", s.Instance.ID, "error", err)
			return nil
		})
	}
}

// remove deletes one orphan: it is read again by its id, the database's facts are
// compared again in the statement that records the intent, and then the cloud is
// called once.
func (a *Auditor) remove(ctx, work context.Context, o Orphan) error {
	seen, err := instanceByID(ctx, a.Cloud, o.ProjectID, o.InstanceID)
	if err != nil {
		return fmt.Errorf("read orphan %s again: %w", o.InstanceID, err)
	}
	d, still := stillOrphan(o, a.Installation, seen)
	if still {
		ok, err := a.Deletions.IntendDeletion(work, o, a.rules())
		if err != nil || !ok {
			return err
		}
		_, _, err = a.Deleter.DeleteInstance(work, o.ProjectID, o.InstanceID)
		d = afterOrphanDelete(o, err)
	}
	log := a.Log.With("instance", o.InstanceID, "request", o.RequestID)
	switch {
	case d.Accepted:
		log.Info("deletes an orphan")
	case d.Failure != nil:
		log.Warn("an orphan is not deleted", "error", d.Failure.Message)
	}
	return writeAll(work, a.Health, []Deletion{d}, func(ctx context.Context, batch []Deletion) error {
		return a.Deletions.RecordDeletion(ctx, batch[0])
	}, func(ctx context.Context, d Deletion, _ error) error {
		d.Failure = &Failure{Message: "the cloud's words cannot be stored"}
		return a.Deletions.RecordDeletion(ctx, d)
	})
}
