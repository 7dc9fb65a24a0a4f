package ddsfake

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// createTime has a space and no zone, dds-api.md §2.5.
const createTime = "2006-01-02 15:04:05"

const defaultPort = 8635

// createAnswer is the answer to create: strings for num, size and keep_days, an int for the port, no password, no storage.
type createAnswer struct {
	ID                string          `json:"id"`
	Name              string          `json:"name"`
	Datastore         datastore       `json:"datastore"`
	Created           string          `json:"created"`
	Status            string          `json:"status"`
	Region            string          `json:"region"`
	Zone              string          `json:"availability_zone"`
	VPC               string          `json:"vpc_id"`
	Subnet            string          `json:"subnet_id"`
	SecurityGroup     string          `json:"security_group_id"`
	Port              int             `json:"port"`
	Key               string          `json:"disk_encryption_id"`
	Mode              string          `json:"mode"`
	Flavor            []createdFlavor `json:"flavor"`
	Storage           *createdStorage `json:"storage,omitempty"`
	Backup            createdBackup   `json:"backup_strategy"`
	EnterpriseProject string          `json:"enterprise_project_id"`
	SSL               string          `json:"ssl_option"`
	JobID             string          `json:"job_id,omitempty"`
	OrderID           string          `json:"order_id,omitempty"`
	Tags              []Tag           `json:"tags,omitempty"`
}

type createdFlavor struct {
	Type string `json:"type"`
	Num  string `json:"num"`
	Size string `json:"size,omitempty"`
	Spec string `json:"spec_code"`
}

type createdStorage struct {
	Size string `json:"size"`
}

type createdBackup struct {
	StartTime string `json:"start_time"`
	KeepDays  string `json:"keep_days"`
}

// create is POST /v3/{project_id}/instances, dds-api.md §2. Its checks come in the order of §2.6.
func (c *Cloud) create(k *call) reply {
	c.stats.countCreateReceived()
	var body createBody
	if json.Unmarshal(k.body, &body) != nil {
		return c.fail(k, "DBS.280001")
	}
	if code := c.dialect.form(&body); code != "" {
		return c.fail(k, code)
	}
	if code := c.missing(&body); code != "" {
		return c.fail(k, code)
	}
	body.Password = ""
	if !c.dialect.tags {
		body.Tags = nil
	}
	i := c.newInstance(k, body)
	if code := c.register(k.route.project, i); code != "" {
		return c.fail(k, code)
	}
	c.stats.countCreateExecuted()
	return jsonReply(http.StatusAccepted, i.answer())
}

// missing checks the form-free existence of what the body names, and whether the spec can be had.
func (c *Cloud) missing(b *createBody) string {
	absent := func(exist []string, value string) bool {
		return value != "" && len(exist) > 0 && !slices.Contains(exist, value)
	}
	switch {
	case absent(c.cfg.Regions, b.Region):
		return "DBS.200024"
	case b.EnterpriseProject != "" && c.cfg.NoEnterpriseProjects:
		return "DBS.280437"
	case absent(c.cfg.VPCs, b.VPC):
		return "DBS.200503"
	case absent(c.cfg.Subnets, b.Subnet):
		return "DBS.200501"
	case absent(c.cfg.SecurityGroups, b.SecurityGroup):
		return "DBS.200502"
	case absent(c.cfg.Keys, b.Key):
		return "DBS.200506"
	case absent(c.cfg.Zones, b.Zone):
		return "DBS.280244"
	}
	for _, f := range b.Flavor {
		if absent(c.cfg.Specs, f.Spec) {
			return "DBS.200053"
		}
		if slices.Contains(c.cfg.SoldOut, f.Spec) {
			return "DBS.280239"
		}
	}
	return ""
}

func (c *Cloud) newInstance(k *call, body createBody) *instance {
	suffix := instanceSuffix
	if body.enhanced() {
		suffix = enhancedInstanceSuffix
	}
	at := c.now().Add(k.late)
	took := c.scaled(c.buildTime(body.Mode))
	i := &instance{
		id:      hex32() + suffix,
		body:    body,
		port:    defaultPort,
		created: at,
		visible: at.Add(c.scaled(c.cfg.ListLag) + k.listLag),
		settled: at.Add(took + c.scaled(c.cfg.SettleLag)),
	}
	if c.dialect.takesPort && body.Port.given() {
		i.port, _ = body.Port.in(0, 65535)
	}
	i.build = &job{
		id: uuid4(), instance: i, created: at, known: at.Add(c.scaled(c.cfg.JobLag)), ends: at.Add(took),
		fails: k.jobFails,
	}
	i.build.name, i.build.listName = buildNames(body.Mode)
	if body.prepaid() {
		i.orderID = "CS" + strings.ToUpper(hex32()[:16])
		i.unpaid = !body.Charge.AutoPay
	}
	return i
}

func (c *Cloud) buildTime(mode string) time.Duration {
	if c.cfg.SlowJobs > 0 && c.faults.happens(c.cfg.SlowJobs) {
		return c.faults.between(c.cfg.JobMax, c.cfg.SlowJobMax)
	}
	low, high := c.cfg.JobMin, c.cfg.JobMax
	if c.cfg.JobsByMode {
		low, high = partOf(low, high, mode)
	}
	return c.faults.between(low, high)
}

// partOf is the mode's part of a range of build times.
func partOf(low, high time.Duration, mode string) (from, to time.Duration) {
	parts := modes() // the longest first
	n := len(parts) - 1 - max(0, slices.Index(parts, mode))
	at := func(n int) time.Duration {
		return time.Duration(float64(low) * math.Pow(float64(high)/float64(low), float64(n)/float64(len(parts))))
	}
	return at(n), at(n + 1)
}

// register puts the instance into its project unless the quota or, in an old dialect, the name forbids it.
func (c *Cloud) register(projectID string, i *instance) string {
	p, now := c.projects[projectID], c.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if most, limited := c.cfg.Quota[i.body.Mode]; limited && p.count(i.body.Mode, now) >= most {
		return "DBS.200046"
	}
	if c.dialect.uniqueNames && len(p.named(i.body.Name, now)) > 0 {
		return "DBS.200022"
	}
	i.seq = len(p.all) + len(p.buried)
	p.add(i)
	if !i.unpaid {
		p.addTask(i.build, now.Add(-c.scaled(c.cfg.JobRetention)))
	}
	return ""
}

func (i *instance) answer() createAnswer {
	b := &i.body
	a := createAnswer{
		ID: i.id, Name: b.Name, Datastore: b.Datastore, Created: i.created.UTC().Format(createTime),
		Status: statusCreating, Region: b.Region, Zone: b.Zone, VPC: b.VPC, Subnet: b.Subnet,
		SecurityGroup: b.SecurityGroup, Port: i.port, Key: b.Key, Mode: b.Mode,
		Backup: createdBackup{StartTime: i.backupStart(), KeepDays: i.keepDays()}, EnterpriseProject: b.EnterpriseProject,
		SSL: i.ssl(), OrderID: i.orderID, Tags: b.Tags,
	}
	for _, f := range b.Flavor {
		shown := createdFlavor{Type: f.Type, Num: f.Num.text, Spec: f.Spec}
		if f.Type != "mongos" && !b.enhanced() {
			shown.Size = f.Size.text
		}
		a.Flavor = append(a.Flavor, shown)
	}
	if b.enhanced() {
		a.Storage = &createdStorage{Size: b.Storage.Size.text}
	}
	if i.orderID == "" {
		a.JobID = i.build.id
	}
	return a
}

func (i *instance) backupStart() string {
	if i.body.Backup == nil {
		return "00:00-01:00"
	}
	return i.body.Backup.StartTime
}

func (i *instance) keepDays() string {
	if i.body.Backup == nil || !i.body.Backup.KeepDays.given() {
		return "7"
	}
	return i.body.Backup.KeepDays.text
}

func (i *instance) ssl() string {
	if i.body.SSL == "" {
		return "1"
	}
	return i.body.SSL
}
