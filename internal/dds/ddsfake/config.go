package ddsfake

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// What the zero Config's cloud knows.
const (
	DefaultUser        = "dds-user"
	DefaultPassword    = "Fake-Passw0rd"
	DefaultDomain      = "dds-domain"
	DefaultProjectID   = "5a3b2c1d0e9f48a7b6c5d4e3f2a1b0c9"
	DefaultProjectName = "aaa"
)

// How IAM shows its errors, dds-api.md §1.3.
const (
	IAMErrorsHuawei   = "huawei"   // {"error_code":"IAM.0062","error_msg":"…"}
	IAMErrorsKeystone = "keystone" // {"error":{"code":401,"message":"…","title":"Unauthorized"}}
)

// What the list answers for the id of an instance that is not there, dds-api.md §4.1.
const (
	UnknownIDEmpty = "empty" // 200 and no instances
	UnknownIDError = "error" // 400 DBS.280110
)

// A User may log in for every project.
type User struct {
	Name     string
	Password string
	Domain   string // name of the account
	ID       string // default: derived from domain and name
	DomainID string // default: derived from the domain
}

// Config says how the cloud behaves. Durations named as the cloud's own are divided by Speed; those of an
// HTTP answer, and the life of a token, are real time because the caller's clock measures them.
type Config struct {
	// Dialect is one of Dialects(), or Union; "" is Huawei.
	Dialect string
	// Users may log in; none: DefaultUser with DefaultPassword in DefaultDomain.
	Users []User
	// Projects maps project ids to names; none: DefaultProjectID and DefaultProjectName.
	Projects map[string]string

	// Regions, Zones, VPCs, Subnets, SecurityGroups, Keys (of KMS) and Specs (spec codes) exist; an empty
	// list accepts whatever has the right form. A zone may be a list of zones joined by commas.
	Regions, Zones, VPCs, Subnets, SecurityGroups, Keys, Specs []string
	// SoldOut lists spec codes that exist and cannot be had (DBS.280239).
	SoldOut []string
	// Quota is how many instances of a mode (Sharding, ReplicaSet, Single) a project may have. A mode
	// that is absent has no limit.
	Quota map[string]int
	// NoEnterpriseProjects refuses enterprise_project_id (DBS.280437).
	NoEnterpriseProjects bool
	// UnknownID is UnknownIDEmpty or UnknownIDError; "" is what the dialect does.
	UnknownID string

	// IAMErrors is IAMErrorsHuawei or IAMErrorsKeystone; "" is the former in Huawei's dialects.
	IAMErrors string
	// TokenLife is how long a token is valid, in real time; 0: 24 h.
	TokenLife time.Duration
	// LoginLatency is how long a login takes to answer, in real time.
	LoginLatency time.Duration

	// CreateLatency is how long create takes to answer, in real time. The instance exists from the
	// beginning of it, whether the caller waits or not.
	CreateLatency time.Duration
	// JobMin and JobMax bound the cloud's time to build an instance; both 0: 5 and 20 min. With only one
	// set, every job takes that long.
	JobMin, JobMax time.Duration
	// SlowJobs is the share of jobs that take longer than JobMax, up to SlowJobMax of the cloud's time; 0: none.
	SlowJobs   float64
	SlowJobMax time.Duration
	// JobsByMode gives each mode a part of that range of its own: Single the shortest times, Sharding the
	// longest, each part as many times longer than the one before.
	JobsByMode bool
	// JobLag is how long a job stays unknown, of the cloud's time; 0: 3 s, negative: none.
	JobLag time.Duration
	// ListLag is how long an instance stays out of the list, of the cloud's time.
	ListLag time.Duration
	// SettleLag is how long a ready instance still shows its action CREATE after the job has completed,
	// of the cloud's time; 0: 5 s, negative: none.
	SettleLag time.Duration
	// DeleteTime is how long a deletion takes, of the cloud's time; 0: 1 min, negative: none.
	DeleteTime time.Duration
	// JobRetention is when a job is forgotten, of the cloud's time; 0: 30 days.
	JobRetention time.Duration
	// Speed divides the cloud's times: at 900 a job of 15 min lasts 1 s; 0: 1. Time stamps stay those of
	// the wall clock, so that a caller can still ask for the jobs of the last hour.
	Speed float64
	// ClockOffset is how far the cloud's wall clock is ahead of ours.
	ClockOffset time.Duration

	// Throttle is how many calls the gateway lets through for one project within ThrottlePer; 0: any
	// number. Refused calls count.
	Throttle int
	// ThrottleProjects has the limits of projects that differ from Throttle; 0: any number.
	ThrottleProjects map[string]int
	// ThrottleAccount is how many calls of all projects together it lets through; 0: any number.
	ThrottleAccount int
	// ThrottlePer is the window of all these limits, in real time; 0: 1 s.
	ThrottlePer time.Duration
	// Faults happen by chance; SetFaults changes them later.
	Faults Faults
	// HugeBody is the size in bytes of the answer of HugeBody faults; 0: 100 MB.
	HugeBody int64
	// SlowByte is the pause before each byte in SlowBytes faults, in real time; 0: 200 ms.
	SlowByte time.Duration
	// Seed of all chance; 0: a new one each time. Ids and tokens never depend on it, so that a restarted
	// cloud does not hand out the same ones again.
	Seed uint64
	// Logger gets a line per call at debug level; nil: none.
	Logger *slog.Logger
}

// Validate reports everything that is wrong with the configuration.
func (cfg Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	oneOf := func(field, value string, allowed ...string) {
		if value != "" && !slices.Contains(allowed, value) {
			bad("%s %q is not one of %s", field, value, strings.Join(allowed, ", "))
		}
	}
	oneOf("dialect", cfg.Dialect, append(Dialects(), Union)...)
	oneOf("unknown id", cfg.UnknownID, UnknownIDEmpty, UnknownIDError)
	oneOf("IAM errors", cfg.IAMErrors, IAMErrorsHuawei, IAMErrorsKeystone)
	for i, u := range cfg.Users {
		if u.Name == "" || u.Password == "" || u.Domain == "" {
			bad("user %d needs a name, a password and a domain", i+1)
		}
	}
	for id := range cfg.Projects {
		if id == "" || strings.ContainsAny(id, "/?#% ") || id == "auth" {
			bad("project id %q cannot stand in a path", id)
		}
	}
	for _, mode := range slices.Sorted(maps.Keys(cfg.Quota)) {
		oneOf("quota mode", mode, modes()...)
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"token life", cfg.TokenLife}, {"login latency", cfg.LoginLatency}, {"create latency", cfg.CreateLatency},
		{"job min", cfg.JobMin}, {"job max", cfg.JobMax}, {"list lag", cfg.ListLag},
		{"job retention", cfg.JobRetention}, {"throttle window", cfg.ThrottlePer}, {"slow byte", cfg.SlowByte},
	} {
		if d.d < 0 {
			bad("%s %v is negative", d.name, d.d)
		}
	}
	if cfg.JobMax != 0 && cfg.JobMax < cfg.JobMin {
		bad("job max %v is less than job min %v", cfg.JobMax, cfg.JobMin)
	}
	if !(cfg.SlowJobs >= 0 && cfg.SlowJobs <= 1) || cfg.SlowJobs > 0 && cfg.SlowJobMax < cfg.withDefaults().JobMax {
		bad("slow jobs %v, up to %v, are no share from 0 to 1 that takes longer than other jobs", cfg.SlowJobs, cfg.SlowJobMax)
	}
	if cfg.Speed < 0 || math.IsNaN(cfg.Speed) || math.IsInf(cfg.Speed, 0) {
		bad("speed %v is not a positive number", cfg.Speed)
	}
	if cfg.Throttle < 0 || cfg.ThrottleAccount < 0 || cfg.HugeBody < 0 {
		bad("throttle and huge body must not be negative")
	}
	return errors.Join(append(errs, cfg.Faults.validate())...)
}

func (cfg Config) withDefaults() Config {
	setDefault(&cfg.Dialect, Huawei)
	if len(cfg.Users) == 0 {
		cfg.Users = []User{{Name: DefaultUser, Password: DefaultPassword, Domain: DefaultDomain}}
	}
	if len(cfg.Projects) == 0 {
		cfg.Projects = map[string]string{DefaultProjectID: DefaultProjectName}
	}
	if d, _ := dialectNamed(cfg.Dialect); d.unknownIDError {
		setDefault(&cfg.UnknownID, UnknownIDError)
	}
	setDefault(&cfg.UnknownID, UnknownIDEmpty)
	if cfg.Dialect == Huawei || cfg.Dialect == Huawei2020 {
		setDefault(&cfg.IAMErrors, IAMErrorsHuawei)
	}
	setDefault(&cfg.IAMErrors, IAMErrorsKeystone)
	setDefault(&cfg.TokenLife, 24*time.Hour)
	switch {
	case cfg.JobMin == 0 && cfg.JobMax == 0:
		cfg.JobMin, cfg.JobMax = 5*time.Minute, 20*time.Minute
	case cfg.JobMin == 0:
		cfg.JobMin = cfg.JobMax
	case cfg.JobMax == 0:
		cfg.JobMax = cfg.JobMin
	}
	for _, lag := range []struct {
		d        *time.Duration
		standard time.Duration
	}{{&cfg.JobLag, 3 * time.Second}, {&cfg.SettleLag, 5 * time.Second}, {&cfg.DeleteTime, time.Minute}} {
		setDefault(lag.d, lag.standard)
		*lag.d = max(*lag.d, 0)
	}
	setDefault(&cfg.JobRetention, 30*24*time.Hour)
	setDefault(&cfg.Speed, 1)
	setDefault(&cfg.ThrottlePer, time.Second)
	setDefault(&cfg.HugeBody, 100<<20)
	setDefault(&cfg.SlowByte, 200*time.Millisecond)
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

func setDefault[T comparable](field *T, standard T) {
	var zero T
	if *field == zero {
		*field = standard
	}
}
