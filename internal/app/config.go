package app

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
)

// Config is every setting of a worker. Each has a flag and a variable; the help
// text is made from the tags.
type Config struct {
	NATS     NATSConfig     `embed:"" group:"NATS"`
	Database DatabaseConfig `embed:"" group:"Postgres"`
	Cloud    CloudConfig    `embed:"" group:"The cloud"`
	Pace     PaceConfig     `embed:"" group:"Pace"`
	Process  ProcessConfig  `embed:"" group:"This process"`
}

// NATSConfig says how to reach NATS and how its streams are made.
type NATSConfig struct {
	queue.Server
	Replicas     Value[int]     `name:"nats-replicas" env:"NATS_REPLICAS" default:"1" help:"Replicas of the streams that are made."`
	EventsMaxAge Value[Seconds] `name:"events-max-age" env:"EVENTS_MAX_AGE" default:"168h" help:"How long events stay in the stream that is made."`
}

// DatabaseConfig says how to reach Postgres.
type DatabaseConfig struct {
	URL       provision.Secret `name:"database-url" env:"DATABASE_URL" required-by-us:"" placeholder:"URL" help:"Connection string, postgres://user:password@host:5432/database?sslmode=verify-full. Required."`
	MaxConns  Value[int]       `name:"database-max-conns" env:"DATABASE_MAX_CONNS" default:"10" help:"Connections of this process, at least 2. Two more are beside them: one listens, and one looks every 5s where the database is."`
	Retention Value[Age]       `name:"retention" env:"RETENTION" placeholder:"AGE" help:"Prune requests that ended so long ago, like 90d: their ids, marks and instance ids are kept. Empty: keep everything. Wants the role ddsworker_pruner too."`
}

// CloudConfig says which cloud is called, as whom.
type CloudConfig struct {
	Endpoint     string      `name:"dds-endpoint" env:"DDS_ENDPOINT" required-by-us:"" placeholder:"URL" help:"Base URL of DDS, for example https://dds.{region}.myhuaweicloud.com. Required."`
	AuthURL      string      `name:"os-auth-url" env:"OS_AUTH_URL" required-by-us:"" placeholder:"URL" help:"Base URL of IAM, with or without /v3. Required."`
	Username     string      `name:"os-username" env:"OS_USERNAME" required-by-us:"" help:"IAM user. Required."`
	PasswordFile string      `name:"os-password-file" env:"OS_PASSWORD_FILE" placeholder:"FILE" help:"File with the user's password; or set the variable OS_PASSWORD. One of them is required."`
	DomainName   string      `name:"os-domain-name" env:"OS_DOMAIN_NAME" required-by-us:"" help:"The account (domain) of the user. Required."`
	ProjectID    string      `name:"os-project-id" env:"OS_PROJECT_ID" required-by-us:"" help:"Project that instances are made in, where a request names none. Required."`
	Projects     string      `name:"dds-projects" env:"DDS_PROJECTS" placeholder:"IDS" help:"Further projects that are served, separated by commas; a request names its own in the header Dds-Project-Id."`
	Region       string      `name:"os-region-name" env:"OS_REGION_NAME" required-by-us:"" help:"Region that is served. Required."`
	Dialect      string      `name:"dds-dialect" env:"DDS_DIALECT" placeholder:"NAME" help:"Whose rules requests must keep: huawei, otc, flexibleengine or huawei-2020; empty: what any of them allows."`
	AcceptAny    Value[bool] `name:"accept-unknown-fields" env:"ACCEPT_UNKNOWN_FIELDS" default:"false" help:"true: pass fields on that are not known, untouched."`
	CAFile       string      `name:"dds-ca-file" env:"DDS_CA_FILE" placeholder:"FILE" help:"PEM file with authorities that may sign the certificates of DDS and IAM, beside the system's own."`
	AllowHTTP    Value[bool] `name:"dds-allow-http" env:"DDS_ALLOW_HTTP" default:"false" help:"true: allow http:// beyond loopback; tokens and passwords then travel in the clear."`

	Password provision.Secret `kong:"-"`
	Roots    *x509.CertPool   `kong:"-"` // nil: the system's own
}

// PaceConfig says how fast and how patient a worker is.
type PaceConfig struct {
	IntakeBatch       Value[int]     `name:"intake-batch" env:"INTAKE_BATCH" default:"500" help:"Messages taken in with one statement."`
	IntakeLimit       Value[int]     `name:"intake-limit" env:"INTAKE_LIMIT" default:"1000000" help:"Requests of the whole fleet that may wait in the database for their call: beyond it they wait in the stream."`
	CreateConcurrency Value[int]     `name:"create-concurrency" env:"CREATE_CONCURRENCY" default:"32" help:"Create calls at a time."`
	LookConcurrency   Value[int]     `name:"look-concurrency" env:"LOOK_CONCURRENCY" default:"8" help:"Looks, and reads of instances and jobs being followed, at a time."`
	PollBatch         Value[int]     `name:"poll-batch" env:"POLL_BATCH" default:"2000" help:"Instances followed in one round."`
	CallTimeout       Value[Seconds] `name:"call-timeout" env:"CALL_TIMEOUT" default:"10s" help:"Longest call to the cloud. A claim's lease is 3s longer."`
	VisibilityWindow  Value[Seconds] `name:"visibility-window" env:"VISIBILITY_WINDOW" default:"2m" help:"How long the cloud's lists may hide an instance that exists."`
	CreateDeadline    Value[Seconds] `name:"create-deadline" env:"CREATE_DEADLINE" default:"24h" help:"How long a request is tried, from its first call."`
	BuildDeadline     Value[Seconds] `name:"build-deadline" env:"BUILD_DEADLINE" default:"2h" help:"How long an instance may take to be ready."`
	PollInterval      Value[Seconds] `name:"poll-interval" env:"POLL_INTERVAL" default:"1s" help:"Shortest time between two looks at an instance being built."`
	DetectionTarget   Value[Seconds] `name:"detection-target" env:"DETECTION_TARGET" default:"5s" help:"How late the end of a build may be seen, at the median: looks come a little less than twice as far apart while builds are expected to end."`
	BuildTimeMin      Value[Seconds] `name:"build-time-min" env:"BUILD_TIME_MIN" default:"5m" help:"What builds take at least, usually, until the worker has seen some."`
	BuildTimeMax      Value[Seconds] `name:"build-time-max" env:"BUILD_TIME_MAX" default:"20m" help:"What builds take at most, usually, until the worker has seen some."`
	AuditInterval     Value[Seconds] `name:"audit-interval" env:"AUDIT_INTERVAL" default:"10m" help:"Time between two comparisons of what the cloud lists in a project with what is recorded."`
	Orphans           string         `name:"orphan-policy" env:"ORPHAN_POLICY" default:"report" help:"What is done with instances that carry a mark of ours and are nobody's: report, delete, or keep, which says no more of them."`
	Quarantine        Value[Seconds] `name:"orphan-quarantine" env:"ORPHAN_QUARANTINE" default:"1h" help:"How long after it was first seen an orphan is left alone."`
	Rate              Value[Rates]   `name:"dds-rate" env:"DDS_RATE" placeholder:"RATE" help:"How fast all workers together may call DDS: calls a second like 20 or 20/s, windows like 200/5m, or several separated by commas. Empty: as fast as the cloud allows."`
	ProjectRate       Value[Rates]   `name:"dds-project-rate" env:"DDS_PROJECT_RATE" placeholder:"RATE" help:"How fast they may call each project. Where the cloud answers 429 they call it more slowly, with or without a setting."`
	RetryMin          Value[Seconds] `name:"retry-min" env:"RETRY_MIN" default:"2s" help:"Delay before the second call; it doubles from then on."`
	RetryMax          Value[Seconds] `name:"retry-max" env:"RETRY_MAX" default:"1m" help:"Longest delay between two calls."`
}

// ProcessConfig is what concerns this process alone.
type ProcessConfig struct {
	AdminAddr     string         `name:"admin-addr" env:"ADMIN_ADDR" default:"127.0.0.1:8080" help:"Where /livez, /readyz and /metrics are served; empty: nowhere."`
	Setup         string         `name:"setup" env:"SETUP" default:"auto" help:"auto: migrate the database and make the streams at the start; check: only verify them."`
	IdentityFile  string         `name:"secrets-identity-file" env:"SECRETS_IDENTITY_FILE" default:"${identity_file}" help:"Age identities, one a line, the same for all workers: the first seals, all of them open. Made if it is absent."`
	RequireSealed Value[bool]    `name:"require-sealed" env:"REQUIRE_SEALED" default:"false" help:"true: reject requests whose password comes in the clear."`
	WorkerName    string         `name:"worker-name" env:"WORKER_NAME" default:"${worker_name}" help:"How this worker signs its claims."`
	Grace         Value[Seconds] `name:"grace" env:"GRACE" default:"20s" help:"How long what is in flight may take after SIGTERM."`
	LogLevel      string         `name:"log-level" env:"LOG_LEVEL" default:"info" help:"debug, info, warn or error."`
	LogFormat     string         `name:"log-format" env:"LOG_FORMAT" default:"auto" help:"text, json, or auto: text on a terminal."`
}

// Vars are the defaults that depend on the machine, for kong.
func Vars() map[string]string {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		dir = "."
	}
	return map[string]string{
		"identity_file": filepath.Join(dir, "ddsworker", "identity.txt"),
		"worker_name":   fmt.Sprintf("%s-%d", host, os.Getpid()),
	}
}

// LoadDatabase checks only what a command needs that works on the database alone.
func (c *Config) LoadDatabase() error {
	database := reflect.ValueOf(struct{ Database DatabaseConfig }{c.Database})
	return attention(append(missing(database), broken(database)...))
}

// Load reads what is not a flag and returns one error that lists every setting
// that is missing or broken.
func (c *Config) Load() error {
	problems := append(missing(reflect.ValueOf(*c)), broken(reflect.ValueOf(*c))...)
	problems = append(problems, c.loadPassword()...)
	problems = append(problems, c.loadRoots()...)
	problems = append(problems, c.check()...)
	return attention(problems)
}

func attention(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return errors.New("these settings need attention (see --help):\n  - " + strings.Join(problems, "\n  - "))
}

func (c *Config) loadPassword() []string {
	password, given := os.LookupEnv("OS_PASSWORD")
	switch file := c.Cloud.PasswordFile; {
	case file != "" && given:
		return []string{"OS_PASSWORD and OS_PASSWORD_FILE are both set: set one"}
	case file != "":
		text, err := os.ReadFile(file)
		if err != nil {
			return []string{"OS_PASSWORD_FILE: " + err.Error()}
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	if password == "" {
		return []string{"OS_PASSWORD is missing (or OS_PASSWORD_FILE): the IAM user's password"}
	}
	c.Cloud.Password = provision.NewSecret(password)
	return nil
}

func (c *Config) loadRoots() []string {
	if c.Cloud.CAFile == "" {
		return nil
	}
	text, err := os.ReadFile(c.Cloud.CAFile)
	if err != nil {
		return []string{"DDS_CA_FILE: " + err.Error()}
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(text) {
		return []string{fmt.Sprintf("DDS_CA_FILE: %s holds no certificate: -----BEGIN CERTIFICATE----- is wanted", c.Cloud.CAFile)}
	}
	c.Cloud.Roots = roots
	return nil
}

// check tells what is wrong with values that can be read.
func (c *Config) check() []string {
	var out []string
	add := func(name, format string, args ...any) { out = append(out, name+": "+fmt.Sprintf(format, args...)) }
	for name, text := range map[string]string{"DDS_ENDPOINT": c.Cloud.Endpoint, "OS_AUTH_URL": c.Cloud.AuthURL} {
		u, err := url.Parse(strings.ReplaceAll(text, "{region}", "region"))
		if text != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
			add(name, "what is given is no URL like https://host") // it is not shown: it may hold a password
		}
	}
	for n, id := range c.served().Projects {
		if id != "" && !provision.IsProjectID(id) {
			add([]string{"OS_PROJECT_ID", "DDS_PROJECTS"}[min(n, 1)], "given %.80q, allowed: 1 to 64 letters, digits, _ and -", id)
		}
	}
	out = append(out, c.NATS.Problems()...)
	if m := c.Database.MaxConns; m.err == nil && (m.V < 2 || m.V > math.MaxInt32) {
		add("DATABASE_MAX_CONNS", "given %d, allowed: from 2 on, because the relay keeps one for itself", m.V)
	}
	if _, err := provision.ParseDialect(c.Cloud.Dialect); err != nil {
		add("DDS_DIALECT", "%v", err)
	}
	if _, err := provision.ParseOrphanPolicy(c.Pace.Orphans); err != nil {
		add("ORPHAN_POLICY", "%v", err)
	}
	if !slices.Contains([]string{"auto", "check"}, c.Process.Setup) {
		add("SETUP", "given %q, allowed: auto, check", c.Process.Setup)
	}
	if !slices.Contains([]string{"auto", "text", "json"}, c.Process.LogFormat) {
		add("LOG_FORMAT", "given %q, allowed: auto, text, json", c.Process.LogFormat)
	}
	if err := new(slog.Level).UnmarshalText([]byte(c.Process.LogLevel)); err != nil {
		add("LOG_LEVEL", "given %q, allowed: debug, info, warn, error", c.Process.LogLevel)
	}
	if c.Pace.RetryMin.V > c.Pace.RetryMax.V && c.Pace.RetryMax.err == nil {
		add("RETRY_MIN", "is %v, more than RETRY_MAX, %v", time.Duration(c.Pace.RetryMin.V), time.Duration(c.Pace.RetryMax.V))
	}
	if c.Pace.BuildTimeMin.V > c.Pace.BuildTimeMax.V && c.Pace.BuildTimeMax.err == nil {
		add("BUILD_TIME_MIN", "is %v, more than BUILD_TIME_MAX, %v", time.Duration(c.Pace.BuildTimeMin.V), time.Duration(c.Pace.BuildTimeMax.V))
	}
	slices.Sort(out)
	return out
}

// leaseMargin is how much longer a claim holds than a call may take: time to
// record its outcome.
const leaseMargin = 3 * time.Second

func (c *Config) policy() provision.Policy {
	p := provision.DefaultPolicy()
	p.CallTimeout = time.Duration(c.Pace.CallTimeout.V)
	p.Lease = p.CallTimeout + leaseMargin
	p.VisibilityWindow = time.Duration(c.Pace.VisibilityWindow.V)
	p.CreateDeadline = time.Duration(c.Pace.CreateDeadline.V)
	p.BuildDeadline = time.Duration(c.Pace.BuildDeadline.V)
	p.PollInterval, p.DetectionTarget = time.Duration(c.Pace.PollInterval.V), time.Duration(c.Pace.DetectionTarget.V)
	p.UsualMin, p.UsualMax = time.Duration(c.Pace.BuildTimeMin.V), time.Duration(c.Pace.BuildTimeMax.V)
	p.RetryMin, p.RetryMax = time.Duration(c.Pace.RetryMin.V), time.Duration(c.Pace.RetryMax.V)
	return p
}

func (c *Config) rules() provision.Rules {
	return provision.Rules{Dialect: provision.Dialect(c.Cloud.Dialect), AcceptUnknownFields: c.Cloud.AcceptAny.V}
}

// served names the worker's own project first.
func (c *Config) served() provision.Served {
	s := provision.Served{Region: c.Cloud.Region, Projects: []string{c.Cloud.ProjectID}}
	for id := range strings.SplitSeq(c.Cloud.Projects, ",") {
		if id = strings.TrimSpace(id); id != "" && !slices.Contains(s.Projects, id) {
			s.Projects = append(s.Projects, id)
		}
	}
	return s
}
