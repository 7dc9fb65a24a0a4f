package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"ddsworker/internal/dds/ddsfake"
)

// cli is the whole command line: every flag is an environment variable too.
type cli struct {
	Serve  serve  `cmd:"" default:"withargs" help:"Serve the simulated cloud (the default command)."`
	Health health `cmd:"" help:"Ask a running fakecloud whether it is well; exits 0 or 1."`
}

type streams struct{ out, err io.Writer }

func newParser(c *cli, stdout, stderr io.Writer, exit func()) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("fakecloud"),
		kong.Description("A simulated Huawei Cloud DDS and IAM, as unkind as the real one."),
		kong.DefaultEnvars("FAKECLOUD"),
		kong.UsageOnError(),
		kong.Vars{"calls": joined(ddsfake.FaultOps()), "kinds": joined(ddsfake.Kinds()), "user": ddsfake.DefaultUser, "password": ddsfake.DefaultPassword,
			"domain": ddsfake.DefaultDomain, "project": ddsfake.DefaultProjectID + "=" + ddsfake.DefaultProjectName},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { exit() }),
	)
}

func joined[T ~string](names []T) string {
	var b strings.Builder
	for n, name := range names {
		if n > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(name))
	}
	return b.String()
}

// cloudFlags are the fields of ddsfake.Config. Times marked "cloud time" are divided by the speed.
type cloudFlags struct {
	Dialect  string            `default:"huawei" help:"huawei, otc, flexibleengine or huawei-2020."`
	Users    []user            `placeholder:"NAME:PASSWORD@DOMAIN" help:"Who may log in (default: ${user}:${password}@${domain})."`
	Projects map[string]string `mapsep:"," placeholder:"ID=NAME" help:"Projects by id (default: ${project})."`

	Regions        []string       `help:"Regions that exist; none: any."`
	Zones          []string       `sep:";" help:"Availability zones that exist, by semicolon; none: any."`
	VPCs           []string       `name:"vpcs" help:"VPCs that exist; none: any."`
	Subnets        []string       `help:"Subnets that exist; none: any."`
	SecurityGroups []string       `help:"Security groups that exist; none: any."`
	Keys           []string       `help:"KMS keys that exist; none: any."`
	Specs          []string       `help:"Spec codes that exist; none: any."`
	SoldOut        []string       `help:"Spec codes that cannot be had."`
	Quota          map[string]int `mapsep:"," placeholder:"MODE=N" help:"Instances of a mode that a project may have."`

	NoEnterpriseProjects bool   `help:"Refuse enterprise_project_id."`
	UnknownID            string `help:"What the list answers for an unknown id: empty or error (default: what the dialect does)."`
	IAMErrors            string `name:"iam-errors" help:"How IAM shows errors: huawei or keystone (default: what the dialect does)."`

	TokenLife     time.Duration `default:"24h" help:"Life of a token, real time."`
	LoginLatency  time.Duration `default:"0s" help:"How long a login takes to answer, real time."`
	CreateLatency time.Duration `default:"0s" help:"How long create takes to answer, real time."`
	JobMin        time.Duration `default:"5m" help:"Shortest time to build an instance, cloud time."`
	JobMax        time.Duration `default:"20m" help:"Longest time to build an instance, cloud time."`
	SlowJobs      float64       `default:"0" help:"Share of jobs that take longer, up to --slow-job-max."`
	SlowJobMax    time.Duration `default:"1h" help:"Longest time of a slow job, cloud time."`
	JobsByMode    bool          `help:"Give each mode a part of the times of its own, Single the shortest and Sharding the longest."`
	JobLag        time.Duration `default:"3s" help:"How long a job stays unknown, cloud time."`
	ListLag       time.Duration `default:"0s" help:"How long an instance stays out of the list, cloud time."`
	SettleLag     time.Duration `default:"5s" help:"How long CREATE is shown after the job has completed, cloud time."`
	DeleteTime    time.Duration `default:"1m" help:"How long a deletion takes, cloud time."`
	JobRetention  time.Duration `default:"720h" help:"When a job is forgotten, cloud time."`
	Speed         float64       `default:"1" help:"How much faster than the real cloud: at 900 a job of 15 min lasts 1 s."`
	ClockOffset   time.Duration `default:"0s" help:"How far the cloud's clock is ahead."`

	Throttle    int                `default:"0" help:"Calls let through for a project in each window; 0: any number."`
	ThrottleOf  map[string]int     `name:"throttle-projects" mapsep:"," placeholder:"ID=N" help:"The same for projects that differ."`
	ThrottleAll int                `name:"throttle-account" default:"0" help:"Calls let through for all projects together in each window; 0: any number."`
	ThrottlePer time.Duration      `default:"1s" help:"The window, real time."`
	Faults      map[string]float64 `mapsep:"," placeholder:"CALL:KIND=CHANCE" help:"Chances of faults, such as create:drop-after=0.01. Calls: ${calls}. Kinds: ${kinds}."`
	HugeBody    int64              `default:"104857600" help:"Size of huge-body answers in bytes."`
	SlowByte    time.Duration      `default:"200ms" help:"Pause before each byte of slow-bytes answers, real time."`
	Seed        uint64             `default:"0" help:"Seed of all chance; 0: a new one each time."`
}

// config translates the flags. On the command line a time of zero means none; in Config that is said by a negative one.
func (f cloudFlags) config() (ddsfake.Config, error) {
	cfg := ddsfake.Config{
		Dialect: f.Dialect, Projects: f.Projects, Regions: f.Regions, Zones: f.Zones, VPCs: f.VPCs, Subnets: f.Subnets,
		SecurityGroups: f.SecurityGroups, Keys: f.Keys, Specs: f.Specs, SoldOut: f.SoldOut, Quota: f.Quota,
		NoEnterpriseProjects: f.NoEnterpriseProjects, UnknownID: f.UnknownID, IAMErrors: f.IAMErrors, TokenLife: f.TokenLife,
		LoginLatency: f.LoginLatency, CreateLatency: f.CreateLatency, JobMin: instantIfZero(f.JobMin), JobMax: instantIfZero(f.JobMax),
		SlowJobs: f.SlowJobs, SlowJobMax: f.SlowJobMax, JobsByMode: f.JobsByMode,
		JobLag: noneIfZero(f.JobLag), ListLag: f.ListLag, SettleLag: noneIfZero(f.SettleLag), DeleteTime: noneIfZero(f.DeleteTime),
		JobRetention: f.JobRetention, Speed: f.Speed, ClockOffset: f.ClockOffset, Throttle: f.Throttle,
		ThrottleProjects: f.ThrottleOf, ThrottleAccount: f.ThrottleAll, ThrottlePer: f.ThrottlePer, HugeBody: f.HugeBody, SlowByte: f.SlowByte, Seed: f.Seed,
	}
	for _, u := range f.Users {
		cfg.Users = append(cfg.Users, ddsfake.User(u))
	}
	for name, chance := range f.Faults {
		op, kind, ok := strings.Cut(name, ":")
		if !ok {
			return cfg, fmt.Errorf("fault %q is not CALL:KIND=CHANCE", name)
		}
		if cfg.Faults == nil {
			cfg.Faults = ddsfake.Faults{}
		}
		if cfg.Faults[ddsfake.Op(op)] == nil {
			cfg.Faults[ddsfake.Op(op)] = map[ddsfake.Kind]float64{}
		}
		cfg.Faults[ddsfake.Op(op)][ddsfake.Kind(kind)] = chance
	}
	return cfg, cfg.Validate()
}

// instantIfZero is for the two times whose zero stands for a standard in Config and whose negative stands for nothing.
func instantIfZero(d time.Duration) time.Duration {
	if d == 0 {
		return 1
	}
	return d
}

func noneIfZero(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// user is NAME:PASSWORD@DOMAIN; the password may hold colons and at signs. Errors do not show it.
type user ddsfake.User

func (u *user) UnmarshalText(text []byte) error {
	name, rest, ok := strings.Cut(string(text), ":")
	at := strings.LastIndex(rest, "@")
	if !ok || name == "" || at < 1 || at == len(rest)-1 {
		return fmt.Errorf("a user is NAME:PASSWORD@DOMAIN")
	}
	u.Name, u.Password, u.Domain = name, rest[:at], rest[at+1:]
	return nil
}
