package provision

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// relearn is how long a cloud that does not list its jobs is not asked again.
const relearn = time.Hour

// maxWindow is the longest span that the job list allows (dds-api.md §3.2).
const maxWindow = 30 * 24 * time.Hour

// maxPages is how much of the job list is read in one round.
const maxPages = 50

// readMany reads what tells about many builds. Where a round gets hardly a slot, what
// it begins with is drawn, so that each kind of read has its turn.
func (r *reading) readMany() {
	first := 0
	if r.p.Budget.scarce(r.id) {
		first = rand.IntN(3)
	}
	if first < 1 {
		r.readJobPages()
	}
	if first < 2 {
		r.readInstancePages()
	}
}

// readJobPages reads the list of running jobs for builds that are young or late: it
// tells the progress of a hundred with one call, and of those that are not on it
// that they have ended, so that only these cost a call each. Others are read by the
// instance list, where many of them end.
func (r *reading) readJobPages() {
	if time.Now().Before(r.project.noList) {
		return
	}
	r.preferJobs()
	windows := map[string][]*watched{}
	for _, l := range r.watching {
		switch {
		case l.ripe:
		case l.late: // few, so that others must not stand between them
			windows["late "+l.claim.Mode] = append(windows["late "+l.claim.Mode], l)
		default:
			windows["young"] = append(windows["young"], l)
		}
	}
	for name, group := range windows {
		if len(group) < 2 {
			continue
		}
		filter := ""
		if group[0].late {
			filter = r.project.jobNames[strings.TrimPrefix(name, "late ")]
		}
		switch err := r.listJobs(group, filter); {
		case err == nil:
			r.p.report(jobList(r.id), nil)
		case errors.Is(err, errNotReached):
		case AsCloudError(err).Class == ClassNotOffered || AsCloudError(err).Class == ClassForbidden:
			r.learnNoList()
			return
		default:
			r.p.report(jobList(r.id), err)
			for _, l := range group {
				if l.poll.Job == nil {
					l.poll.Err = err // unless its instance can be read
				}
			}
		}
	}
}

// preferJobs asks the job list about ripe builds too, if that is cheaper: where few
// are left on many pages.
func (r *reading) preferJobs() {
	var ripe []*watched
	ends := 0.0
	for _, l := range r.watching {
		if l.ripe && !r.p.Policy.mustSee(l.claim) && l.claim.JobID != "" {
			ripe = append(ripe, l)
			ends += l.builds.curve.between(max(0, l.claim.Age-l.claim.Since), l.claim.Age)
		}
	}
	if len(ripe) <= few {
		return
	}
	byList := 0
	for mode, wanted := range r.byMode(ripe) {
		if m := r.project.lists[mode]; m != nil {
			pages, rest := m.plan(wanted)
			byList += len(pages) + len(rest)
		} else {
			byList += (len(wanted) + pageSize - 1) / pageSize
		}
	}
	// Others may run in the same window, so it must be clearly cheaper.
	if byJobs := 2*math.Ceil(float64(len(ripe))/pageSize) + 1 + ends; byJobs < 0.8*float64(byList) {
		for _, l := range ripe {
			l.ripe = false
		}
	}
}

// listJobs reads the running jobs of a window, newest first, as long as a page tells
// about more than a few.
func (r *reading) listJobs(group []*watched, name string) error {
	missing, byInstance := map[string]*watched{}, map[string]*watched{}
	oldest, newest := r.created(group[0]), r.created(group[0])
	for _, l := range group {
		missing[l.claim.JobID] = l
		at := r.created(l)
		if at.Before(oldest) {
			oldest = at
		}
		if at.After(newest) {
			newest = at
		}
	}
	for _, l := range r.watching {
		if l.claim.JobID == "" {
			byInstance[l.claim.InstanceID] = l
		}
	}
	if !r.project.clock.known {
		r.readJob(r.errand(group[0].claim), r.jobs, group[0])
		if j := group[0].poll.Job; j != nil {
			r.project.clock.see(j.Created, r.created(group[0]))
		}
	}
	w := JobWindow{Name: name, Status: JobRunning, Limit: pageSize}
	w.From, w.To = r.project.clock.window(oldest, newest)
	if w.To.Sub(w.From) > maxWindow {
		w.From = w.To.Add(-maxWindow)
	}
	poor := 0
	for range maxPages {
		page, err := read(r, r.jobs, func(ctx context.Context) (JobPage, error) { return r.p.Jobs.Jobs(ctx, r.id, w) })
		if err != nil {
			return err
		}
		before := len(missing)
		for _, j := range page.Jobs {
			if l := missing[j.ID]; l != nil {
				l.poll.Job = &j
				r.project.clock.see(j.Created, r.created(l))
				if l.claim.Mode != "" && j.Name != "" {
					r.project.jobNames[l.claim.Mode] = j.Name
				}
				delete(missing, j.ID)
			} else if l := byInstance[j.InstanceID]; l != nil && strings.HasPrefix(j.Name, "Create") {
				l.poll.Job = &j
			}
		}
		if len(page.Jobs) < w.Limit {
			for _, l := range missing {
				l.ended = true // or it is not known yet: its instance tells
			}
			break
		}
		if w.Offset += len(page.Jobs); before-len(missing) > few {
			poor = 0
		} else if poor++; poor > 1 {
			break
		}
		if len(missing) <= few {
			break
		}
	}
	for _, l := range group {
		if j := l.poll.Job; j != nil && j.Status == JobRunning {
			l.done = true
		}
	}
	return nil
}

func (r *reading) learnNoList() {
	r.project.noList = time.Now().Add(relearn)
	r.p.report(jobList(r.id), nil)
	r.p.Log.Info("this cloud does not list its jobs; instances are followed by their list", "project", r.id)
}

// byMode groups what is wanted of the instance list by the mode that it is filtered
// by: builds of a mode end close to each other, so a page of it tells more.
func (r *reading) byMode(group []*watched) map[string][]wantedItem {
	wanted := map[string][]wantedItem{}
	for _, l := range group {
		wanted[l.claim.Mode] = append(wanted[l.claim.Mode], wantedItem{l.claim.InstanceID, r.created(l)})
	}
	return wanted
}

// readInstancePages reads the pages of the instance list that are expected to tell
// about more than a few of what is still to be read.
func (r *reading) readInstancePages() {
	open, byID := []*watched{}, map[string]*watched{}
	for _, l := range r.watching {
		if !l.done {
			open = append(open, l)
			byID[l.claim.InstanceID] = l
		}
	}
	for mode, wanted := range r.byMode(open) {
		if len(wanted) <= few {
			continue
		}
		m := r.project.lists[mode]
		if m == nil {
			m = &listMap{}
			r.project.lists[mode] = m
		}
		if err := r.listInstances(m, mode, wanted, byID); err != nil {
			for _, w := range wanted {
				if l := byID[w.id]; !l.done {
					l.poll.Err, l.done = err, true
				}
			}
		}
	}
}

// maxPasses is how often the pages to read are chosen anew, with what the ones
// before told.
const maxPasses = 6

// listInstances reads the pages that are worth it. The first one alone: it tells how
// far the list has moved.
func (r *reading) listInstances(m *listMap, mode string, wanted []wantedItem, byID map[string]*watched) error {
	created := make(map[string]time.Time, len(wanted))
	for _, w := range wanted {
		created[w.id] = w.created
	}
	horizon := r.began.Add(-2 * r.p.Policy.BuildDeadline)
	if m.top == 0 && len(m.marks) == 0 {
		m.forget()
	}
	all := len(wanted)
	for pass := range maxPasses {
		pages, _ := m.plan(wanted)
		if len(pages) == 0 {
			return nil
		}
		if pass == 0 {
			pages = pages[:1]
		}
		found, err := r.readPages(m, mode, pages, created, byID, horizon)
		left := wanted[:0]
		for _, w := range wanted {
			if l := byID[w.id]; l.poll.Instance == nil {
				left = append(left, w)
			}
		}
		wanted = left
		if err != nil {
			return err
		}
		switch {
		case found > 0:
		case len(m.marks) == 0 && m.top == 0:
			return nil // all of the list was read
		case len(m.marks) == 0: // it is being searched from its front
		case len(wanted) < all:
			return nil // the rest is not where it should be
		default:
			m.forget()
		}
	}
	return nil
}

// readPages reads pages side by side and returns how many of the wanted ones they
// showed.
func (r *reading) readPages(m *listMap, mode string, pages []listPage, created map[string]time.Time, byID map[string]*watched, horizon time.Time) (found int, failed error) {
	want := make(map[string]bool, len(created))
	for id := range created {
		want[id] = byID[id].poll.Instance == nil
	}
	var mu sync.Mutex
	var barren []listPage
	inParallel(pages, r.parallel, func(at listPage) {
		q := InstanceQuery{Mode: mode, Offset: at.offset, Limit: pageSize, Wanted: want}
		page, err := read(r, r.start, func(ctx context.Context) (InstancePage, error) { return r.p.Instances.ListInstances(ctx, r.id, q) })
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = errors.Join(failed, err)
			return
		}
		var marks []listMark
		for n, i := range page.Instances {
			at, known := created[i.ID]
			if !known {
				continue
			}
			place := page.Total - q.Offset - n
			marks = append(marks, listMark{at, place})
			m.saw(i.ID, place, i.Status == InstanceNormal && len(i.Actions) == 0 || i.Status == InstanceCreateFail)
			if l := byID[i.ID]; l.poll.Instance == nil {
				found++
				r.sawInstance(l, i)
			}
		}
		m.learn(marks, page.Total, horizon)
		if len(marks) == 0 {
			barren = append(barren, listPage{q.Offset, len(page.Instances)})
		}
	})
	slices.SortFunc(barren, func(a, b listPage) int { return a.offset - b.offset })
	for _, at := range barren {
		m.barren(at.offset, at.wants)
	}
	return found, failed
}

// sawInstance takes an instance of a page. What may have failed is read once more,
// for the reason.
func (r *reading) sawInstance(l *watched, i Instance) {
	l.poll.Instance, l.poll.Err = &i, nil
	l.done = !l.needsReason()
}
