package provision

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Reconciler looks for what a call may have made, and adopts it.
type Reconciler struct {
	Cloud  InstanceLister // paced
	Budget *Budget        // bounds what is claimed; nil: does not
	Store  LookStore
	Policy Policy
	Served Served
	Worker string
	// Installation is the value of the tag provision-by.
	Installation string
	Dialect      Dialect
	Concurrency  int
	Health       *Health
	Log          *slog.Logger
	// Due rings when a look may be due; Recorded is rung when its finding is in
	// the database, Claimable when anybody may claim the request at once.
	Due                 Bell
	Recorded, Claimable []Bell

	unsent unsent
}

// Run looks until ctx ends and finishes what is in flight while work lasts. Each look
// goes by itself, so that one that hangs holds up no other project's.
func (r *Reconciler) Run(ctx, work context.Context) {
	findings := newCollector(r.Concurrency, r.record)
	recording, stop := context.WithCancel(work)
	var recorder, looks sync.WaitGroup
	recorder.Go(func() { findings.run(recording) })

	inFlight := newRoom(r.Concurrency)
	var backlog atomic.Bool // the last claim left something that is due
	repeat(ctx, "reconciler", r.Health, r.Due, func(ctx context.Context) (bool, error) {
		claims, deadline, more, err := r.claim(work, inFlight)
		backlog.Store(more)
		for _, claim := range claims {
			inFlight.enter(claim.ProjectID)
			looks.Go(func() {
				result := r.lookUntil(ctx, work, deadline, claim)
				if err := findings.put(work, result); err != nil {
					r.Log.Warn("a finding could not be recorded before the worker stopped; it is looked for again when its lease ends", "request", claim.RequestID)
				}
				if inFlight.leave(claim.ProjectID); backlog.Load() {
					r.Due.Ring()
				}
			})
		}
		return more && inFlight.free() > 0, err
	})
	looks.Wait()
	stop()
	recorder.Wait()
}

// Round claims what must be looked for, looks, and records what it found. It is a
// turn of Run that waits for its looks.
func (r *Reconciler) Round(work context.Context) (more bool, err error) {
	claims, deadline, more, err := r.claim(work, newRoom(r.Concurrency))
	if err != nil || len(claims) == 0 {
		return false, err
	}
	results := make([]LookResult, len(claims))
	inParallel(indices(claims), r.Concurrency, func(i int) { results[i] = r.lookUntil(work, work, deadline, claims[i]) })
	return more, r.record(work, results)
}

// claim takes what must be looked for and there is room for, and reports whether
// there may be more. The looks end before the deadline, and so before the lease.
func (r *Reconciler) claim(ctx context.Context, inFlight *room) (claims []LookClaim, deadline time.Time, more bool, err error) {
	most := r.unsent.most(r.Served.Projects)
	r.Budget.most(LaneRead, r.Served.Projects, most)
	limit := inFlight.most(r.Served.Projects, most)
	if limit == 0 || none(r.Served.Projects, most) {
		return nil, deadline, false, nil
	}
	deadline = time.Now().Add(r.Policy.CallTimeout)
	claims, err = r.Store.ClaimLooks(ctx, ClaimQuery{Served: r.Served, Worker: r.Worker, Limit: limit, Most: most, Lease: r.Policy.Lease})
	return claims, deadline, err == nil && len(claims) == limit, err
}

// record writes a batch of findings, whatever it takes.
func (r *Reconciler) record(ctx context.Context, batch []LookResult) error {
	err := writeAll(ctx, r.Health, batch, r.Store.RecordLooks, r.recordAsFailed)
	ring(r.Recorded)
	if slices.ContainsFunc(batch, func(l LookResult) bool { return l.Next.claimable() }) {
		ring(r.Claimable)
	}
	return err
}

// lookUntil looks, with calls that end before the deadline. Where they have to wait for
// their slots the claim is kept, and the deadline moves with it; not once ctx has ended.
func (r *Reconciler) lookUntil(ctx, work context.Context, deadline time.Time, c LookClaim) LookResult {
	e := &errand{patient: ctx, limit: r.Policy.CallTimeout, until: deadline,
		keep: func(ctx context.Context) (bool, error) {
			return r.Store.KeepLook(ctx, c.RequestID, c.Fence, r.Policy.Lease)
		}}
	return r.look(e.in(work), c)
}

// look lists what bears the request's name and decides what it means.
func (r *Reconciler) look(ctx context.Context, c LookClaim) LookResult {
	c.TagsSent, c.Installation = r.Dialect.TakesTags(), r.Installation
	seen, cloudRequest, err := listWhole(ctx, r.Cloud, c.ProjectID, InstanceQuery{Name: c.Name})
	r.Health.reportCloud(err)
	r.unsent.note(c.ProjectID, err)
	if err != nil {
		return r.Policy.LookFailed(c, err)
	}
	known, err := r.Store.KnownInstances(ctx, ids(seen))
	if err != nil {
		return r.Policy.LookFailed(c, err)
	}
	look := Look{Instances: seen, Known: known}
	if c.Held != "" && look.held(c) == nil { // it may have been renamed
		if look.Held, err = instanceByID(ctx, r.Cloud, c.ProjectID, c.Held); err != nil {
			return r.Policy.LookFailed(c, err)
		}
	}
	result := r.Policy.AfterLook(c, look)
	result.CloudRequestID = cloudRequest
	if result.Adopt != nil {
		r.adopted(ctx, c, result)
	}
	return result
}

// instanceByID reads one instance; nil if the cloud says that there is none. Only
// this tells so: a list that moves while its pages are read may skip one, and a page
// that counts or shows others tells nothing.
func instanceByID(ctx context.Context, cloud InstanceLister, projectID, id string) (*Instance, error) {
	page, err := cloud.ListInstances(ctx, projectID, InstanceQuery{ID: id, Limit: 1})
	if err != nil && AsCloudError(err).Class != ClassGone {
		return nil, err
	}
	for _, i := range page.Instances {
		if i.ID == id {
			return &i, nil
		}
	}
	if page.Total > 0 || len(page.Instances) > 0 {
		return nil, &CloudError{Op: "list instances", Class: ClassLost, RequestID: page.CloudRequestID,
			Message: fmt.Sprintf("asked for instance %s, the cloud counts %d and shows %d others", id, page.Total, len(page.Instances))}
	}
	return nil, nil
}

func (r *Reconciler) adopted(ctx context.Context, c LookClaim, result LookResult) {
	r.Log.Debug("adopted an instance whose create answer was not known", "request", c.RequestID,
		"instance", result.Adopt.ID, "orphans", len(result.Orphans))
	if !c.MarksSeen && result.Adopt.Tags[TagRequest] == c.Mark {
		r.Health.wrote(r.Store.NoteMarksSeen(ctx, c.ProjectID), 0)
	}
}

// recordAsFailed keeps a finding that the database will not take as a look that
// proved nothing.
func (r *Reconciler) recordAsFailed(ctx context.Context, l LookResult, cause error) error {
	r.Log.Error("a finding cannot be stored; it is looked for again", "request", l.RequestID, "error", cause)
	plain := LookResult{RequestID: l.RequestID, Fence: l.Fence, Kind: KindLooked, Detail: "the finding could not be stored",
		Next: Next{State: Creating, Delay: r.Policy.LookMax, WaitingFor: "a look whose finding can be stored"}}
	return writeOne(ctx, r.Health, plain, r.Store.RecordLooks)
}

// pageSize is the most that the cloud lists with one call.
const pageSize = 100

// listWhole reads every page of a list. A list whose total moved while it was
// read, or that shows fewer different ids than it says, is read again: only a
// whole list proves that something is absent (dds-api.md §4.1).
func listWhole(ctx context.Context, cloud InstanceLister, projectID string, q InstanceQuery) ([]Instance, string, error) {
	const tries = 3
	var seen []Instance
	for range tries {
		var whole bool
		var cloudRequest string
		var err error
		if seen, whole, cloudRequest, err = listOnce(ctx, cloud, projectID, q); err != nil || whole {
			return seen, cloudRequest, err
		}
	}
	return nil, "", &CloudError{Op: "list instances", Class: ClassBusy,
		Message: fmt.Sprintf("the list changed while it was read, %d times; %d instances were seen", tries, len(seen))}
}

func listOnce(ctx context.Context, cloud InstanceLister, projectID string, q InstanceQuery) (seen []Instance, whole bool, cloudRequest string, err error) {
	distinct := map[string]bool{}
	q.Limit, q.Offset = pageSize, 0
	total := -1
	for {
		page, err := cloud.ListInstances(ctx, projectID, q)
		if err != nil {
			return nil, false, "", err
		}
		cloudRequest = page.CloudRequestID
		if total >= 0 && page.Total != total {
			return seen, false, cloudRequest, nil
		}
		total = page.Total
		for _, i := range page.Instances {
			if !distinct[i.ID] {
				distinct[i.ID] = true
				seen = append(seen, i)
			}
		}
		q.Offset += len(page.Instances)
		if len(page.Instances) == 0 || q.Offset >= total {
			return seen, len(distinct) == total, cloudRequest, nil
		}
	}
}

// indices are the indices of a slice, for work whose results keep their order.
func indices[T any](s []T) []int {
	out := make([]int, len(s))
	for i := range out {
		out[i] = i
	}
	return out
}
