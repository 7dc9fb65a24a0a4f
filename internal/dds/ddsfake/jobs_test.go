package ddsfake

import (
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

func TestJobOfItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{JobMin: 100 * time.Second})
		started := time.Now().UTC()
		id, job := c.create(cluster())
		ask := func() gotAnswer { return c.send("GET", c.path("/jobs?id="+job), nil) }
		ask().want(400, "DBS.280016")
		sleep(3*time.Second - time.Nanosecond)
		ask().want(400, "DBS.280016")
		sleep(6*time.Second + time.Nanosecond)
		v := c.job(job)
		equal(t, "name", v["name"], "Create_MongoDB")
		equal(t, "status", v["status"], "Running")
		equal(t, "progress", v["progress"], "9%")
		equal(t, "created", v["created"], started.Format("2006-01-02T15:04:05")+"+0000")
		equal(t, "ended of a running job", v["ended"], started.Add(10*time.Second).Format("2006-01-02T15:04:05")+"+0000")
		equal(t, "instance", v["instance"], fmt.Sprintf("map[id:%s name:test-cluster]", id))
		sleep(91 * time.Second)
		v = c.job(job)
		equal(t, "status", v["status"], "Completed")
		equal(t, "progress", v["progress"], "")
		equal(t, "ended", v["ended"], started.Add(100*time.Second).Format("2006-01-02T15:04:05")+"+0000")
		equal(t, "fail_reason", v["fail_reason"], "")

		sleep(30*24*time.Hour - 101*time.Second)
		c.login()
		equal(t, "status within the month", c.job(job)["status"], "Completed")
		sleep(time.Second)
		ask().want(400, "DBS.280016")
		c.create(replica(3)) // forgets it for good
		equal(t, "jobs kept", len(c.cloud.projects[c.project].tasks), 1)
	})
}

func TestJobThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{Dialect: OTC, JobMin: time.Minute, Faults: Faults{OpCreate: {JobFails: 1}}})
		id, job := c.create(replica(3).with(otcDatastore(object{"backup_strategy": nil})))
		sleep(59 * time.Second)
		equal(t, "status", c.job(job)["status"], "Running")
		equal(t, "reason so far", c.job(job)["fail_reason"], nil)
		equal(t, "instance", c.instance(id)["status"], "creating")
		sleep(time.Second)
		equal(t, "status", c.job(job)["status"], "Failed")
		equal(t, "reason", c.job(job)["fail_reason"], failReason)
		i := c.instance(id)
		equal(t, "instance", i["status"], "createfail")
		equal(t, "actions", i["actions"], "[]")
		c.send("DELETE", c.path("/instances/"+id), nil).wantStatus(202)
	})
}

func TestSpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{JobMin: 15 * time.Minute, Speed: 900})
		started := time.Now().UTC()
		id, job := c.create(replica(3))
		sleep(4 * time.Millisecond) // 3 s of the cloud
		equal(t, "job", c.job(job)["status"], "Running")
		sleep(996 * time.Millisecond)
		v := c.job(job)
		equal(t, "job", v["status"], "Completed")
		equal(t, "ended on the wall clock", v["ended"], started.Add(time.Second).Format("2006-01-02T15:04:05")+"+0000")
		sleep(6 * time.Millisecond) // 5 s of the cloud
		equal(t, "actions", c.instance(id)["actions"], "[]")
	})
}

func TestJobsTakeFromMinToMax(t *testing.T) {
	spread := func(seed uint64) string {
		c := New(Config{JobMin: time.Minute, JobMax: time.Hour, Seed: seed})
		var took []time.Duration
		for range 50 {
			d := c.faults.between(c.cfg.JobMin, c.cfg.JobMax)
			if d < time.Minute || d > time.Hour {
				t.Fatalf("a job takes %v", d)
			}
			took = append(took, d)
		}
		return fmt.Sprint(took)
	}
	once, again := spread(1), spread(1)
	if once != again {
		t.Error("one seed gave two runs")
	}
	if once == spread(2) {
		t.Error("two seeds gave one run")
	}
}

func TestSlowJobs(t *testing.T) {
	c := New(Config{JobMin: time.Minute, JobMax: 2 * time.Minute, SlowJobs: 0.1, SlowJobMax: time.Hour, Seed: 1})
	slow := 0
	for range 1000 {
		d := c.buildTime(single)
		if d < time.Minute || d > time.Hour {
			t.Fatalf("a job takes %v", d)
		}
		if d > 2*time.Minute {
			slow++
		}
	}
	if slow < 50 || slow > 200 {
		t.Errorf("%d of 1000 jobs are slow, want about 100", slow)
	}
}

func TestJobsByMode(t *testing.T) {
	c := New(Config{JobMin: time.Minute, JobMax: 8 * time.Minute, JobsByMode: true, Seed: 1})
	for n, mode := range []string{single, replicaSet, sharding} {
		low := time.Minute << n
		for range 100 {
			if d := c.buildTime(mode); d < low-time.Millisecond || d > 2*low+time.Millisecond {
				t.Errorf("%s takes %v, want from %v to %v", mode, d, low, 2*low)
			}
		}
	}
}

func (c *caller) jobs(from, to time.Time, more string) gotAnswer {
	query := url.Values{"start_time": {from.Format(jobTime)}, "end_time": {to.Format(jobTime)}}
	return c.send("GET", "/v3.1/"+c.project+"/jobs?"+query.Encode()+more, nil)
}

func TestJobList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{JobMin: time.Minute})
		start := time.Now()
		var jobs []string
		for _, body := range []object{cluster(), replica(3), singleNode()} {
			_, job := c.create(body)
			jobs = append(jobs, job)
			sleep(30 * time.Second)
		}
		listed := func(from, to time.Time, more string) string {
			t.Helper()
			a := c.jobs(from, to, more)
			a.wantStatus(200)
			v := a.object()
			if _, there := v["total_count"]; there {
				t.Error("the task list has a total_count")
			}
			var found []string
			for _, j := range v["jobs"].([]any) {
				found = append(found, fmt.Sprint(j.(map[string]any)["name"], " ", j.(map[string]any)["status"]))
			}
			return fmt.Sprint(found)
		}
		now := time.Now()
		equal(t, "all", listed(start, now, ""),
			"[CreateMongoDBReplicaSingle Running CreateMongoDBReplica Completed CreateMongoDB Completed]")
		equal(t, "from the second on", listed(start.Add(time.Second), now, ""), "[CreateMongoDBReplicaSingle Running CreateMongoDBReplica Completed]")
		equal(t, "up to the first", listed(start.Add(-time.Hour), start, ""), "[CreateMongoDB Completed]")
		equal(t, "by name", listed(start, now, "&name=CreateMongoDB"), "[CreateMongoDB Completed]")
		equal(t, "by status", listed(start, now, "&status=Running"), "[CreateMongoDBReplicaSingle Running]")
		equal(t, "by id", listed(start, now, "&id="+jobs[1]), "[CreateMongoDBReplica Completed]")
		equal(t, "a page", listed(start, now, "&limit=1&offset=1"), "[CreateMongoDBReplica Completed]")
		last := c.jobs(start, now, "&limit=1").object()["jobs"].([]any)[0].(map[string]any)
		equal(t, "created_at", last["created_at"], start.Add(time.Minute).UTC().Format("2006-01-02T15:04:05")+"+0000")
		equal(t, "progress", last["progress"], "50%")
		equal(t, "instance_name", last["instance_name"], "test-single")
	})
}

func TestJobListRefusals(t *testing.T) {
	c := newCaller(t, Config{})
	now := time.Now()
	c.jobs(now, now, "").want(400, "DBS.280068")
	c.jobs(now.Add(-30*24*time.Hour-time.Second), now, "").want(400, "DBS.280001")
	c.jobs(now.Add(-30*24*time.Hour), now, "").wantStatus(200)
	c.jobs(now.Add(-time.Hour), now, "&status=Done").want(400, "DBS.280001")
	c.jobs(now.Add(-time.Hour), now, "&limit=101").want(400, "DBS.280439")
	base := "/v3.1/" + c.project + "/jobs"
	c.send("GET", base, nil).want(400, "DBS.280067")
	c.send("GET", base+"?start_time=2026-01-01T00:00:00%2B0000", nil).want(400, "DBS.280068")
	// A plus that is not encoded is a space.
	c.send("GET", base+"?start_time=2026-01-01T00:00:00+0000&end_time=2026-01-02T00:00:00+0000", nil).want(400, "DBS.280067")
	c.send("GET", base+"?start_time=2026-01-01T00:00:00Z&end_time=2026-01-02T00:00:00Z", nil).want(400, "DBS.280067")
	c.send("GET", c.path("/jobs?id=x"), nil).want(400, "DBS.280001")
	c.send("GET", c.path("/jobs"), nil).want(400, "DBS.280001")
}

func TestClockOffset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{ClockOffset: 2 * time.Hour})
		a := c.send("POST", c.path("/instances"), replica(3))
		a.wantStatus(202)
		ahead := time.Now().Add(2 * time.Hour).UTC()
		equal(t, "created", a.object()["created"], ahead.Format("2006-01-02 15:04:05"))
		equal(t, "Date", a.header.Get("Date"), ahead.Format("Mon, 02 Jan 2006 15:04:05 GMT"))
	})
}
