package provision

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
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
			pages, rest := m.plan(wanted, nil)
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
