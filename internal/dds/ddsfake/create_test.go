package ddsfake

import (
	"maps"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDocumentedBodies(t *testing.T) {
	for name, tc := range map[string]struct {
		dialect, suffix string
		body            object
		flavors         string
	}{
		"cluster":          {Huawei, "in02", cluster(), "[map[num:2 spec_code:dds.c3.medium.4.mongos type:mongos] map[num:2 size:20 spec_code:dds.c3.medium.4.shard type:shard] map[num:1 size:20 spec_code:dds.c3.large.2.config type:config]]"},
		"enhanced cluster": {Huawei2020, "in10", enhancedCluster(), "[map[num:2 spec_code:dds.container.c3.medium.4.shard type:shard]]"},
		"replica set":      {Huawei, "in02", replica("3"), "[map[num:3 size:30 spec_code:dds.mongodb.s6.medium.4.repset type:replica]]"},
		"single":           {Huawei, "in02", singleNode(), "[map[num:1 size:30 spec_code:dds.mongodb.s6.medium.4.single type:single]]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCaller(t, Config{Dialect: tc.dialect})
				a := c.send("POST", c.path("/instances"), tc.body)
				a.wantStatus(202)
				v := a.object()
				if !regexp.MustCompile("^[0-9a-f]{32}" + tc.suffix + "$").MatchString(v["id"].(string)) {
					t.Errorf("id is %v", v["id"])
				}
				if !uuidForm.MatchString(v["job_id"].(string)) {
					t.Errorf("job_id is %v", v["job_id"])
				}
				for _, key := range []string{"name", "region", "availability_zone", "vpc_id", "mode", "ssl_option"} {
					equal(t, key, v[key], tc.body[key])
				}
				equal(t, "created", v["created"], time.Now().UTC().Format("2006-01-02 15:04:05"))
				equal(t, "status", v["status"], "creating")
				equal(t, "port", v["port"], float64(8635))
				equal(t, "flavor", v["flavor"], tc.flavors)
				equal(t, "keep_days", v["backup_strategy"].(map[string]any)["keep_days"], "8")
				for _, f := range v["flavor"].([]any) {
					if _, ok := f.(map[string]any)["num"].(string); !ok {
						t.Error("num is not a string")
					}
				}
				for _, absent := range []string{"password", "order_id", "tags"} {
					if _, there := v[absent]; there {
						t.Errorf("%s is in the answer", absent)
					}
				}
			})
		})
	}
}

func TestCreateRefusals(t *testing.T) {
	flavors := func(changes ...object) object {
		items := cluster()["flavor"].([]object)
		changed := make([]object, 0, len(items))
		for n, item := range items {
			if n < len(changes) && changes[n] != nil {
				item = item.with(changes[n])
			}
			changed = append(changed, item)
		}
		return object{"flavor": changed}
	}
	tags := func(n int) []object {
		var list []object
		for i := range n {
			list = append(list, object{"key": "k" + strings.Repeat("x", i), "value": "v"})
		}
		return list
	}
	for name, tc := range map[string]struct {
		dialect string
		change  object
		status  int
		code    string
	}{
		"short name":        {"", object{"name": "abc"}, 400, "DBS.280234"},
		"name by digit":     {"", object{"name": "1abc"}, 400, "DBS.280234"},
		"long name":         {"", object{"name": "a" + strings.Repeat("b", 64)}, 400, "DBS.280234"},
		"enhanced":          {"", object{"datastore": enhancedCluster()["datastore"]}, 400, "DBS.280235"},
		"old version":       {"", object{"datastore": object{"type": community, "version": "3.2", "storage_engine": "wiredTiger"}}, 400, "DBS.280236"},
		"engine":            {"", object{"datastore": object{"type": community, "version": "4.2", "storage_engine": "wiredTiger"}}, 400, "DBS.280122"},
		"no region":         {"", object{"region": ""}, 400, "DBS.200024"},
		"no zone":           {"", object{"availability_zone": nil}, 400, "DBS.200025"},
		"vpc":               {"", object{"vpc_id": "vpc"}, 400, "DBS.280247"},
		"subnet":            {"", object{"subnet_id": "subnet"}, 400, "DBS.280248"},
		"security group":    {"", object{"security_group_id": nil}, 400, "DBS.280249"},
		"key":               {"", object{"disk_encryption_id": "key"}, 400, "DBS.280438"},
		"port":              {"", object{"port": "many"}, 400, "DBS.200059"},
		"port range":        {"", object{"port": 9501}, 400, "DBS.200060"},
		"weak password":     {"", object{"password": "abcdefgh"}, 400, "DBS.200068"},
		"short password":    {"", object{"password": "Te@1"}, 400, "DBS.200068"},
		"password letters":  {"", object{"password": "Test @123"}, 400, "DBS.280200"},
		"weak in 2020":      {Huawei2020, object{"password": "abcdefgh"}, 400, "DBS.200052"},
		"no password":       {Huawei2020, object{"password": nil}, 400, "DBS.200052"},
		"mode":              {"", object{"mode": "Cluster"}, 400, "DBS.280342"},
		"foreign item":      {"", flavors(object{"type": "replica"}), 400, "DBS.280414"},
		"missing item":      {"", object{"flavor": cluster()["flavor"].([]object)[:2]}, 400, "DBS.280414"},
		"one mongos":        {"", flavors(object{"num": 1}), 400, "DBS.280123"},
		"17 mongos":         {"", flavors(object{"num": 17}), 400, "DBS.280123"},
		"13 mongos":         {FlexibleEngine, flavors(object{"num": 13}), 400, "DBS.280123"},
		"num by word":       {"", flavors(object{"num": "two"}), 400, "DBS.280123"},
		"size":              {"", flavors(nil, object{"size": 2010}), 400, "DBS.280242"},
		"size by ten":       {"", flavors(nil, object{"size": 25}), 400, "DBS.200302"},
		"config size":       {"", flavors(nil, nil, object{"size": 30}), 400, "DBS.280242"},
		"disk":              {"", flavors(nil, object{"storage": "SATA"}), 400, "DBS.280241"},
		"spec":              {"", flavors(object{"spec_code": "tiny"}), 400, "DBS.280239"},
		"spec of another":   {"", flavors(object{"spec_code": "dds.c3.medium.4.shard"}), 400, "DBS.280239"},
		"series":            {"", flavors(object{"spec_code": "dds.s6.medium.4.mongos"}), 400, "DBS.280267"},
		"backup minutes":    {"", object{"backup_strategy": object{"start_time": "08:10-09:10"}}, 400, "DBS.280216"},
		"backup two hours":  {"", object{"backup_strategy": object{"start_time": "08:15-10:15"}}, 400, "DBS.280216"},
		"backup quarters":   {OTC, otcDatastore(nil), 400, "DBS.280216"},
		"keep days":         {"", object{"backup_strategy": object{"start_time": "08:15-09:15", "keep_days": 733}}, 400, "DBS.280214"},
		"enterprise":        {"", object{"enterprise_project_id": "x"}, 403, "DBS.280433"},
		"ssl":               {"", object{"ssl_option": "yes"}, 400, "DBS.239011"},
		"template":          {"", object{"configurations": []object{{"type": "shard", "configuration_id": "x"}}}, 400, "DBS.200057"},
		"policy":            {"", object{"server_group_policies": []string{"affinity"}}, 400, "DBS.280469"},
		"tag key":           {"", object{"tags": []object{{"key": "a b", "value": ""}}}, 400, "DBS.280482"},
		"tag twice":         {"", object{"tags": []object{{"key": "a"}, {"key": "a"}}}, 400, "DBS.280482"},
		"tag value":         {"", object{"tags": []object{{"key": "a", "value": strings.Repeat("v", 44)}}}, 400, "DBS.280483"},
		"tags":              {"", object{"tags": tags(21)}, 400, "DBS.280484"},
		"prepaid period":    {"", object{"charge_info": object{"charge_mode": "prePaid", "period_type": "year", "period_num": 4}}, 400, "DBS.280365"},
		"prepaid elsewhere": {Huawei2020, object{"charge_info": object{"charge_mode": "prePaid", "period_type": "year", "period_num": 1}}, 400, "DBS.280365"},
		"restore":           {"", object{"restore_point": object{"instance_id": "x"}}, 400, "DBS.280001"},
		"wrong type":        {"", object{"name": 7}, 400, "DBS.280001"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCaller(t, Config{Dialect: tc.dialect})
			c.send("POST", c.path("/instances"), cluster().with(tc.change)).want(tc.status, tc.code)
			equal(t, "instances", len(c.cloud.Instances()), 0)
		})
	}
	c := newCaller(t, Config{})
	c.send("POST", c.path("/instances"), "{").want(400, "DBS.280001")
	c.send("POST", c.path("/instances"), nil).want(400, "DBS.280001")
}

// otcDatastore is a change that every dialect takes, OTC too.
func otcDatastore(change object) object {
	changes := object{"datastore": object{"type": community, "version": "4.0", "storage_engine": "wiredTiger"}}
	maps.Copy(changes, change)
	return changes
}

func TestCreateTakesNumbersAndStrings(t *testing.T) {
	c := newCaller(t, Config{})
	body := replica("5").with(object{"port": "27017", "backup_strategy": object{"start_time": "23:00-00:00", "keep_days": 0}})
	a := c.send("POST", c.path("/instances"), body)
	a.wantStatus(202)
	v := a.object()
	equal(t, "port", v["port"], float64(27017))
	equal(t, "keep_days", v["backup_strategy"].(map[string]any)["keep_days"], "0")
	i := c.instance(v["id"].(string))
	equal(t, "listed port", i["port"], "27017")
	if _, ok := i["port"].(string); !ok {
		t.Error("the list's port is not a string")
	}
	if _, ok := i["backup_strategy"].(map[string]any)["keep_days"].(float64); !ok {
		t.Error("the list's keep_days is not a number")
	}
}

func TestWhatDoesNotExist(t *testing.T) {
	b := cluster()
	fine := Config{
		Regions: []string{"aaa"}, Zones: []string{"bbb"}, VPCs: []string{b["vpc_id"].(string)}, Subnets: []string{b["subnet_id"].(string)},
		SecurityGroups: []string{b["security_group_id"].(string)}, Keys: []string{b["disk_encryption_id"].(string)},
		Specs: []string{"dds.c3.medium.4.mongos", "dds.c3.medium.4.shard", "dds.c3.large.2.config"},
	}
	none := []string{"none"}
	for code, change := range map[string]func(*Config){
		"":           func(*Config) {},
		"DBS.200024": func(c *Config) { c.Regions = none },
		"DBS.280244": func(c *Config) { c.Zones = none },
		"DBS.200503": func(c *Config) { c.VPCs = none },
		"DBS.200501": func(c *Config) { c.Subnets = none },
		"DBS.200502": func(c *Config) { c.SecurityGroups = none },
		"DBS.200506": func(c *Config) { c.Keys = none },
		"DBS.200053": func(c *Config) { c.Specs = none },
		"DBS.280239": func(c *Config) { c.SoldOut = []string{"dds.c3.medium.4.shard"} },
	} {
		cfg := fine
		change(&cfg)
		c := newCaller(t, cfg)
		if a := c.send("POST", c.path("/instances"), b); code == "" {
			a.wantStatus(202)
		} else {
			a.want(400, code)
		}
	}
	c := newCaller(t, Config{NoEnterpriseProjects: true})
	c.send("POST", c.path("/instances"), b.with(object{"enterprise_project_id": "0"})).want(400, "DBS.280437")
}

func TestQuota(t *testing.T) {
	c := newCaller(t, Config{Quota: map[string]int{"ReplicaSet": 1}})
	c.create(replica(3))
	c.send("POST", c.path("/instances"), replica(3)).want(413, "DBS.200046")
	c.create(cluster()) // another mode has its own
	a := c.send("GET", c.path("/quotas"), nil)
	a.wantStatus(200)
	if want := `{"type":"instance","mode":"ReplicaSet","quota":1,"used":1}`; !strings.Contains(a.text, want) {
		t.Errorf("quotas are %s, want %s among them", a.text, want)
	}
}

func TestPrepaid(t *testing.T) {
	c := newCaller(t, Config{})
	order := func(paid bool) object {
		return replica(3).with(object{"charge_info": object{
			"charge_mode": "prePaid", "period_type": "month", "period_num": "9", "is_auto_pay": paid}})
	}
	a := c.send("POST", c.path("/instances"), order(true))
	a.wantStatus(202)
	v := a.object()
	if _, there := v["job_id"]; there || v["order_id"] == nil {
		t.Errorf("got %s, want an order_id and no job_id", a.text)
	}
	equal(t, "pay_mode", c.instance(v["id"].(string))["pay_mode"], "1")
	c.send("DELETE", c.path("/instances/"+v["id"].(string)), nil).want(403, "DBS.280406")

	unpaid := c.send("POST", c.path("/instances"), order(false)).object()
	c.send("GET", c.path("/instances?id="+unpaid["id"].(string)), nil).want(400, "DBS.280110")
	if all := c.cloud.Instances(); len(all) != 2 || !all[1].Unpaid {
		t.Errorf("the tester sees %+v, want two, the second unpaid", all)
	}
}

func TestCreateLatencyIsNotItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{CreateLatency: 10 * time.Second})
		started := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.create(replica(3))
		}()
		sleep(time.Second)
		equal(t, "instances while the caller waits", len(c.cloud.Instances()), 1)
		<-done
		equal(t, "create took", time.Since(started), 10*time.Second)
	})
}
