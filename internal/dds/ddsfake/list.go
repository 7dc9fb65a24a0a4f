package ddsfake

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// listTime has a T and no zone, dds-api.md §4.3.
const listTime = "2006-01-02T15:04:05"

// listItem is an instance as the list shows it, with the types that are really sent (dds-api.md §4.3).
type listItem struct {
	ID                string          `json:"id"`
	Name              string          `json:"name"`
	Remark            string          `json:"remark"`
	Status            string          `json:"status"`
	Port              string          `json:"port"`
	Mode              string          `json:"mode"`
	Region            string          `json:"region"`
	Datastore         listedDatastore `json:"datastore"`
	Engine            string          `json:"engine"`
	Created           string          `json:"created"`
	Updated           string          `json:"updated"`
	User              string          `json:"db_user_name"`
	SSL               int             `json:"ssl"`
	VPC               string          `json:"vpc_id"`
	Subnet            string          `json:"subnet_id"`
	SecurityGroup     string          `json:"security_group_id"`
	Backup            listedBackup    `json:"backup_strategy"`
	PayMode           string          `json:"pay_mode"`
	OrderID           string          `json:"order_id,omitempty"`
	Window            string          `json:"maintenance_window"`
	Groups            []group         `json:"groups"`
	Key               string          `json:"disk_encryption_id,omitempty"`
	EnterpriseProject string          `json:"enterprise_project_id"`
	TimeZone          string          `json:"time_zone"`
	Storage           *volume         `json:"storage,omitempty"`
	Actions           []string        `json:"actions"`
	Tags              *[]Tag          `json:"tags,omitempty"`
}

type listedDatastore struct {
	Type    string `json:"type"`
	Version string `json:"version"`
}

type listedBackup struct {
	StartTime string `json:"start_time"`
	KeepDays  int    `json:"keep_days"`
}

// list is GET /v3/{project_id}/instances, dds-api.md §4.1.
func (c *Cloud) list(k *call) reply {
	limit, offset, code := k.page()
	if code != "" {
		return c.fail(k, code)
	}
	keep, code := c.filter(k)
	if code != "" {
		return c.fail(k, code)
	}
	now := c.now()
	p := c.projects[k.route.project]
	p.mu.RLock()
	defer p.mu.RUnlock()
	candidates := p.all
	if id, given := k.param("id"); given && id != "" {
		i := p.byID[id]
		if i == nil || !i.listed(now) {
			if c.cfg.UnknownID == UnknownIDError {
				return c.fail(k, "DBS.280110")
			}
			i = nil
		}
		candidates = slices.DeleteFunc([]*instance{i}, func(i *instance) bool { return i == nil })
	} else if name, given := k.param("name"); given && name != "" && name[0] != '*' {
		candidates = p.byName[name]
	} else if mode, _ := k.param("mode"); mode != "" {
		candidates = p.byMode[mode]
	}
	var answer struct {
		Instances []listItem `json:"instances"`
		Total     int        `json:"total_count"`
	}
	answer.Instances = []listItem{}
	for _, i := range slices.Backward(candidates) {
		if !i.listed(now) || !keep(i) {
			continue
		}
		if answer.Total >= offset && len(answer.Instances) < limit {
			answer.Instances = append(answer.Instances, c.show(i, now))
		}
		answer.Total++
	}
	return jsonReply(http.StatusOK, answer)
}

// page reads limit and offset, dds-api.md §4.1 and §3.2.
func (k *call) page() (limit, offset int, code string) {
	limit = 100
	var err error
	if v, given := k.param("limit"); given {
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > 100 {
			return 0, 0, "DBS.280439"
		}
	}
	if v, given := k.param("offset"); given {
		if offset, err = strconv.Atoi(v); err != nil || offset < 0 {
			return 0, 0, "DBS.280440"
		}
	}
	return limit, offset, ""
}

// filter makes one test of all filters of the query.
func (c *Cloud) filter(k *call) (func(*instance) bool, string) {
	var tests []func(*instance) bool
	name, _ := k.param("name")
	switch {
	case name == "*":
		return nil, "DBS.280234"
	case strings.HasPrefix(name, "*"):
		tests = append(tests, func(i *instance) bool { return strings.Contains(i.body.Name, name[1:]) })
	case name != "":
		tests = append(tests, func(i *instance) bool { return i.body.Name == name })
	}
	for param, field := range map[string]func(*instance) string{
		"mode":           func(i *instance) string { return i.body.Mode },
		"datastore_type": func(i *instance) string { return i.body.Datastore.Type },
		"vpc_id":         func(i *instance) string { return i.body.VPC },
		"subnet_id":      func(i *instance) string { return i.body.Subnet },
	} {
		if want, _ := k.param(param); want != "" {
			tests = append(tests, func(i *instance) bool { return field(i) == want })
		}
	}
	if mode, _ := k.param("mode"); mode != "" && !slices.Contains(modes(), mode) {
		return nil, "DBS.280342"
	}
	if want, _ := k.param("tags"); want != "" && c.dialect.tags {
		pairs := strings.Split(want, ",")
		if len(pairs) > maxTags {
			return nil, "DBS.280484"
		}
		for _, pair := range pairs {
			key, value, ok := strings.Cut(pair, "=")
			if !ok || key == "" {
				return nil, "DBS.280482"
			}
			tests = append(tests, func(i *instance) bool { return slices.Contains(i.body.Tags, Tag{key, value}) })
		}
	}
	return func(i *instance) bool {
		return !slices.ContainsFunc(tests, func(test func(*instance) bool) bool { return !test(i) })
	}, ""
}

func (c *Cloud) show(i *instance, now time.Time) listItem {
	b, s := &i.body, i.state(now)
	keepDays, _ := strconv.Atoi(i.keepDays())
	ssl, _ := strconv.Atoi(i.ssl())
	v := listItem{
		ID: i.id, Name: b.Name, Status: s.status, Port: strconv.Itoa(i.port), Mode: b.Mode, Region: b.Region,
		Datastore: listedDatastore{b.Datastore.Type, b.Datastore.Version}, Engine: b.Datastore.Engine,
		Created: i.created.UTC().Format(listTime), Updated: s.updated.UTC().Format(listTime), User: "rwuser", SSL: ssl,
		VPC: b.VPC, Subnet: b.Subnet, SecurityGroup: b.SecurityGroup, Backup: listedBackup{i.backupStart(), keepDays},
		PayMode: "0", OrderID: i.orderID, Window: "02:00-06:00", Groups: i.groups(s.grown), Key: b.Key,
		EnterpriseProject: b.EnterpriseProject, Actions: s.actions,
	}
	setDefault(&v.EnterpriseProject, "0")
	if i.orderID != "" {
		v.PayMode = "1"
	}
	if b.enhanced() {
		v.Storage = &volume{Size: b.Storage.Size.text, Used: "0.33"}
	}
	if c.dialect.tags {
		tags := append([]Tag{}, b.Tags...)
		v.Tags = &tags
	}
	return v
}
