package ddsfake

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatPeopleDoAtTheConsole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{JobMin: 10 * time.Minute, JobLag: -1, SettleLag: -1})
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		prepaid := replica(3).with(object{"charge_info": object{"charge_mode": "prePaid", "period_type": "month", "period_num": 1}})
		open, _ := c.create(prepaid)
		c.send("GET", c.path("/instances?id="+open), nil).want(400, "DBS.280110")
		do(c.cloud.Pay(open))
		equal(t, "once it is paid", c.instance(open)["status"], "creating")
		sleep(10 * time.Minute)
		equal(t, "ten minutes later", c.instance(open)["status"], "normal")
		do(c.cloud.Pay(open)) // again: nothing happens
		equal(t, "paid twice", c.instance(open)["status"], "normal")

		other := c.cloud.Add(c.project, "others", Tag{"owner", "somebody"})
		equal(t, "somebody else's", c.instance(other)["status"], "normal")
		do(c.cloud.SetStatus(other, "frozen"))
		equal(t, "frozen", c.instance(other)["status"], "frozen")
		do(c.cloud.SetStatus(other, ""))
		equal(t, "not any more", c.instance(other)["status"], "normal")
		do(c.cloud.Remove(other))
		c.send("GET", c.path("/instances?id="+other), nil).want(400, "DBS.280110")
		if c.cloud.Remove(other) == nil || c.cloud.SetStatus("nobody's", "frozen") == nil {
			t.Error("what does not exist is changed")
		}
	})
}
