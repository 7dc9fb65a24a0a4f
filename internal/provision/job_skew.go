package provision

import "time"

// jobClock remembers by how much the cloud's times of jobs differ from the creation
// times in our database, so that a window of the job list need not be wide.
type jobClock struct {
	least, most time.Duration // that were seen
	known       bool
}

// jobSkew allows for clocks that differ between us and the cloud.
const jobSkew = 2 * time.Minute

// jobStep is how exact the window and the times of jobs are, and a bit.
const jobStep = 2 * time.Second

// see takes the time of a job and that of our own record of its instance.
func (c *jobClock) see(job, ours time.Time) {
	d := job.Sub(ours)
	if job.IsZero() || d > time.Hour || d < -time.Hour {
		return // an adopted instance, or a clock that is of no use
	}
	if !c.known {
		c.least, c.most, c.known = d, d, true
		return
	}
	c.least, c.most = min(c.least, d), max(c.most, d)
}

// window is where the jobs of instances that we recorded from oldest to newest are
// listed.
func (c jobClock) window(oldest, newest time.Time) (from, to time.Time) {
	if !c.known {
		return oldest.Add(-2 * jobSkew), newest.Add(2 * jobSkew)
	}
	return oldest.Add(c.least - jobStep), newest.Add(c.most + jobStep)
}
