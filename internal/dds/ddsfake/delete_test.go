package ddsfake

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{JobMin: 10 * time.Minute, DeleteTime: time.Minute})
		id, _ := c.create(replica(3))
		remove := func() gotAnswer { return c.send("DELETE", c.path("/instances/"+id), nil) }
		remove().want(403, "DBS.200019") // it is being built
		sleep(9*time.Minute + 30*time.Second)
		remove().want(403, "DBS.200019") // normal, but not done
		sleep(time.Minute)
		a := remove()
		a.wantStatus(202)
		job := a.object()["job_id"].(string)
		equal(t, "actions", c.instance(id)["actions"], "[DELETE_INSTANCE]")
		remove().want(403, "DBS.200019") // it is being deleted
		sleep(30 * time.Second)
		equal(t, "job", c.job(job)["status"], "Running")
		sleep(30 * time.Second)
		equal(t, "job", c.job(job)["status"], "Completed")
		c.send("GET", c.path("/instances?id="+id), nil).want(400, "DBS.280110")
		equal(t, "list", c.names(""), "")
		remove().want(400, "DBS.280110")
		all := c.cloud.Instances()
		if len(all) != 1 || all[0].Status != "deleted" || all[0].DeletedAt == nil {
			t.Errorf("the tester sees %+v", all)
		}
		equal(t, "deletions in the task list", len(c.jobs(time.Now().Add(-time.Hour), time.Now(), "").object()["jobs"].([]any)), 1)
	})
}

func TestGoneByDialect(t *testing.T) {
	for dialect, want := range map[string]struct {
		status int
		code   string
	}{Huawei: {400, "DBS.280110"}, OTC: {400, "DBS.280110"}, FlexibleEngine: {404, "DBS.200002"}, Huawei2020: {403, "DBS.201028"}} {
		c := newCaller(t, Config{Dialect: dialect})
		c.send("DELETE", c.path("/instances/46125c43ca4d424a9f5c97354223c4e0in02"), nil).want(want.status, want.code)
		c.send("DELETE", c.path("/instances/x"), nil).want(400, "DBS.280404")
	}
}

// Deleted instances must not make the list slower for ever, nor may they disappear before their time.
func TestDeletedInstancesLeaveTheIndexes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{JobMin: time.Nanosecond, SettleLag: -1, DeleteTime: time.Minute})
		for range 200 {
			id, _ := c.create(replica(3))
			sleep(time.Second)
			c.send("DELETE", c.path("/instances/"+id), nil).wantStatus(202)
		}
		p := c.cloud.projects[c.project]
		if len(p.all) > 150 || len(p.all) < 60 {
			t.Errorf("%d of 200 instances are in the indexes, want those not deleted yet and a few more", len(p.all))
		}
		_, total := c.list("name=test-replica")
		equal(t, "still there", total, 60)
		equal(t, "the tester sees", len(c.cloud.Instances()), 200)
		sleep(time.Minute)
		equal(t, "list", c.names(""), "")
	})
}
