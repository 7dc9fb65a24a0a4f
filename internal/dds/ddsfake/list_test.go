package ddsfake

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPagesNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{})
		for n := range 5 {
			c.create(replica(3).with(object{"name": fmt.Sprintf("inst-%d", n)}))
			sleep(time.Second)
		}
		equal(t, "all", c.names(""), "inst-4 inst-3 inst-2 inst-1 inst-0")
		equal(t, "first page", c.names("limit=2"), "inst-4 inst-3")
		c.create(replica(3).with(object{"name": "inst-5"}))
		// One more at the head shifts the pages: the reader meets inst-3 again and must notice by its id.
		equal(t, "second page", c.names("limit=2&offset=2"), "inst-3 inst-2")
		_, total := c.list("limit=1&offset=100")
		equal(t, "total beyond the end", total, 6)
	})
}

func TestPageLimits(t *testing.T) {
	c := newCaller(t, Config{})
	for query, code := range map[string]string{
		"limit=0": "DBS.280439", "limit=101": "DBS.280439", "limit=x": "DBS.280439", "limit=": "DBS.280439",
		"offset=-1": "DBS.280440", "offset=x": "DBS.280440", "name=*": "DBS.280234", "mode=Cluster": "DBS.280342", "tags=a": "DBS.280482",
	} {
		c.send("GET", c.path("/instances?"+query), nil).want(400, code)
	}
	c.list("limit=100&offset=0")
}

func TestPageOfAHundredByDefault(t *testing.T) {
	c := newCaller(t, Config{})
	for range 101 {
		c.create(replica(3))
	}
	instances, total := c.list("")
	equal(t, "instances", len(instances), 100)
	equal(t, "total", total, 101)
}

func TestFilters(t *testing.T) {
	c := newCaller(t, Config{})
	tagged := func(pairs ...string) object {
		var tags []object
		for _, pair := range pairs {
			key, value, _ := strings.Cut(pair, "=")
			tags = append(tags, object{"key": key, "value": value})
		}
		return object{"tags": tags}
	}
	id, _ := c.create(cluster().with(tagged("a=1", "b=2")))
	c.create(replica(3).with(tagged("a=1")))
	c.create(singleNode().with(object{"name": "Test-cluster", "vpc_id": "00000000-cd8d-4d25-a2e6-5abcc565b961"}))
	for query, want := range map[string]string{
		"id=" + id:              "test-cluster",
		"id=" + id + "&name=no": "",
		"name=test-cluster":     "test-cluster",
		"name=test-clust":       "",
		"name=*-cluster":        "Test-cluster test-cluster",
		"mode=ReplicaSet":       "test-replica",
		"datastore_type=" + community + "&mode=Single":   "Test-cluster",
		"vpc_id=674e9b42-cd8d-4d25-a2e6-5abcc565b961":    "test-replica test-cluster",
		"subnet_id=674e9b42-cd8d-4d25-a2e6-5abcc565b961": "",
		"tags=" + url.QueryEscape("a=1"):                 "test-replica test-cluster",
		"tags=" + url.QueryEscape("a=1,b=2"):             "test-cluster",
		"tags=" + url.QueryEscape("a=2"):                 "",
	} {
		equal(t, query, c.names(query), want)
	}
}

func TestProjectsAreApart(t *testing.T) {
	c := newCaller(t, Config{Projects: map[string]string{DefaultProjectID: DefaultProjectName, "p2": "other"}})
	id, job := c.create(replica(3))
	c.project = "p2"
	c.token = c.send("POST", "/v3/auth/tokens", loginRequest(DefaultPassword, object{"project": object{"id": "p2"}})).header.Get("X-Subject-Token")
	equal(t, "instances elsewhere", c.names(""), "")
	c.send("GET", c.path("/instances?id="+id), nil).want(400, "DBS.280110")
	c.send("GET", c.path("/jobs?id="+job), nil).want(400, "DBS.280016")
	c.send("DELETE", c.path("/instances/"+id), nil).want(400, "DBS.280110")
}

func TestListLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{ListLag: 20 * time.Second, Speed: 2})
		id, job := c.create(replica(3))
		sleep(9 * time.Second)
		equal(t, "by name", c.names("name=test-replica"), "")
		equal(t, "all", c.names(""), "")
		c.send("GET", c.path("/instances?id="+id), nil).want(400, "DBS.280110")
		equal(t, "its job", c.job(job)["status"], "Running")
		equal(t, "the tester sees", len(c.cloud.Instances()), 1)
		sleep(time.Second)
		equal(t, "by name", c.names("name=test-replica"), "test-replica")
	})
}

func TestInstanceGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{JobMin: 100 * time.Second, SettleLag: 10 * time.Second})
		created := time.Now().UTC()
		id, _ := c.create(cluster().with(object{"availability_zone": "az1,az2,az3"}))
		seen := func() (status, actions string, nodes, addresses int) {
			i := c.instance(id)
			for _, g := range i["groups"].([]any) {
				kind := g.(map[string]any)["type"]
				for _, n := range g.(map[string]any)["nodes"].([]any) {
					ip, there := n.(map[string]any)["private_ip"]
					if there != (kind == "mongos") {
						t.Errorf("a %v node has the key private_ip: %v", kind, there)
					}
					nodes++
					if there && ip != "" {
						addresses++
					}
				}
			}
			return i["status"].(string), fmt.Sprint(i["actions"]), nodes, addresses
		}
		at := time.Duration(0)
		for _, want := range []struct {
			at               time.Duration
			status, actions  string
			nodes, addresses int
		}{
			{0, "creating", "[CREATE]", 0, 0},
			{30 * time.Second, "creating", "[CREATE]", 5, 0},
			{50 * time.Second, "creating", "[CREATE]", 11, 2},
			{89 * time.Second, "creating", "[CREATE]", 11, 2},
			{90 * time.Second, "normal", "[CREATE]", 11, 2},
			{100 * time.Second, "normal", "[CREATE]", 11, 2},
			{110 * time.Second, "normal", "[]", 11, 2},
		} {
			sleep(want.at - at)
			at = want.at
			status, actions, nodes, addresses := seen()
			got := fmt.Sprint(status, actions, nodes, " ", addresses)
			equal(t, fmt.Sprint("after ", at), got, fmt.Sprint(want.status, want.actions, want.nodes, " ", want.addresses))
		}
		i := c.instance(id)
		equal(t, "created", i["created"], created.Format("2006-01-02T15:04:05"))
		equal(t, "groups", len(i["groups"].([]any)), 4) // mongos, two shards, config
		if _, there := i["groups"].([]any)[0].(map[string]any)["volume"]; there {
			t.Error("the mongos group has a volume")
		}
		before, after := fmt.Sprint(i["groups"]), fmt.Sprint(c.instance(id)["groups"])
		equal(t, "groups asked again", after, before)
	})
}

func TestReplicaNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{JobMin: 10 * time.Second})
		id, _ := c.create(replica(3))
		sleep(5 * time.Second)
		first := c.instance(id)["groups"].([]any)[0].(map[string]any)["nodes"].([]any)[2].(map[string]any)
		equal(t, "private_ip of a machine to come", first["private_ip"], "")
		equal(t, "its role", first["role"], "unknown")
		sleep(10 * time.Second)
		var roles []string
		addresses := map[any]bool{}
		for _, n := range c.instance(id)["groups"].([]any)[0].(map[string]any)["nodes"].([]any) {
			v := n.(map[string]any)
			roles = append(roles, v["role"].(string))
			addresses[v["private_ip"]] = true
		}
		equal(t, "roles", roles, "[Primary Secondary Hidden]")
		if len(addresses) != 3 || addresses[""] {
			t.Errorf("addresses are %v, want three", addresses)
		}
	})
}

func TestEnhancedInTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{Dialect: Huawei2020, JobMin: time.Second})
		id, _ := c.create(enhancedCluster())
		sleep(time.Minute)
		i := c.instance(id)
		equal(t, "storage", i["storage"], "map[size:500 used:0.33]")
		equal(t, "groups, with those the service adds", len(i["groups"].([]any)), 4)
	})
}

func TestListLagOfOneInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{ListLag: 2 * time.Second})
		c.script(OpCreate, Answer{ListLag: 10 * time.Second})
		c.create(replica(3).with(object{"name": "hidden"}))
		c.create(replica(3).with(object{"name": "usual"}))
		sleep(11 * time.Second)
		equal(t, "before its time", c.names(""), "usual")
		sleep(2 * time.Second)
		equal(t, "after its time", c.names(""), "usual hidden")
	})
}
