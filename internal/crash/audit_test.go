package crash

import (
	"context"
	"log/slog"
	"time"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

// Where a call runs later than every margin, nobody can know of it in time: what it
// makes is a surplus, which the audit finds and, by the policy of this test,
// deletes, and which nobody is ever given.
const (
	auditEvery = 6 * time.Minute
	quarantine = time.Minute
	audits     = 8 // two sightings, and for each death a deletion that is asked for again after 10 min
)

// lateBeyondMargins lets the first call run long after the second.
func lateBeyondMargins(w *world) {
	w.must(w.cloud.Script(ddsfake.OpCreate, ddsfake.Answer{Kind: ddsfake.DropAfter, Late: 45 * time.Second}))
}

// audit goes one round once nothing else is due, and reports whether more are to
// come.
func (w *world) audit(p *process) (more bool) {
	if !w.script.audits || w.audited == audits {
		return false
	}
	time.Sleep(auditEvery)
	log := slog.New(slog.DiscardHandler)
	a := provision.Auditor{Cloud: calls{p, w}, Deleter: calls{p, w}, Store: rows{p, w.ground}, Deletions: rows{p, w.ground},
		Served: provision.Served{Region: region, Projects: []string{w.project}}, Installation: w.installation, Interval: auditEvery,
		Quarantine: quarantine, Policy: provision.DeleteOrphans, CallTimeout: 10 * time.Second, Health: provision.NewHealth(log), Log: log}
	_, _ = a.Round(p.ctx, p.ctx)
	if !p.isDead() {
		w.audited++
	}
	return true
}

func (r rows) ClaimAudit(ctx context.Context, served provision.Served, interval time.Duration) (c provision.AuditClaim, ok bool, err error) {
	ok, err = effect(r.process, "claim audit", func() (bool, error) {
		c, ok, err = r.db().ClaimAudit(ctx, served, interval)
		return ok, err
	}, func(ok bool) bool { return ok })
	return c, ok, err
}

func (r rows) MarkFacts(ctx context.Context, listed []provision.Instance, after time.Time) (map[string]provision.MarkFacts, error) {
	return read(r.process, "mark facts", func() (map[string]provision.MarkFacts, error) { return r.db().MarkFacts(ctx, listed, after) })
}

func (r rows) RecordSightings(ctx context.Context, c provision.AuditClaim, seen []provision.Sighting) (fresh []string, err error) {
	err = write(r.process, "record sightings", func() error {
		fresh, err = r.db().RecordSightings(ctx, c, seen)
		return err
	})
	return fresh, err
}

func (r rows) FinishAudit(ctx context.Context, c provision.AuditClaim, listed []string, rules provision.OrphanRules, problem error) (due []provision.Orphan, err error) {
	err = write(r.process, "finish audit", func() error {
		due, err = r.db().FinishAudit(ctx, c, listed, rules, problem)
		return err
	})
	return due, err
}

func (r rows) IntendDeletion(ctx context.Context, o provision.Orphan, rules provision.OrphanRules) (ok bool, err error) {
	err = write(r.process, "intend deletion", func() error {
		ok, err = r.db().IntendDeletion(ctx, o, rules)
		return err
	})
	return ok, err
}

func (r rows) RecordDeletion(ctx context.Context, d provision.Deletion) error {
	return write(r.process, "record deletion", func() error { return r.db().RecordDeletion(ctx, d) })
}
