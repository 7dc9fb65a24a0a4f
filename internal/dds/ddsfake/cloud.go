// Package ddsfake is a simulated cloud: the IAM login and the DDS instance and
// job calls of dds-api.md as one http.Handler.
//
// It promises to answer as the documents say the real cloud answers, in the
// dialect asked for, and to be no kinder than it: an instance appears late, a
// job is unknown at first, progress and actions disagree, a request without a
// mistake can still be refused, and a create can happen although its answer was
// lost. Everything that goes wrong by chance is drawn from one seed; everything
// that shall go wrong on purpose can be scripted, from Go or over HTTP.
//
// State is computed from time stamps when somebody asks, so an instance costs
// memory and no goroutine, and the package works inside testing/synctest.
// Passwords are compared and dropped; nothing it shows holds one, nor a token.
//
// Not simulated: restore to a new instance, scaling, backups, restarts,
// flavors. Such calls get the gateway's answer for an API that
// is not published, such bodies DBS.280001.
package ddsfake

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Limits of the gateway, dds-api.md §6.4 and §1.4.
const (
	maxBodyBytes  = 12 << 20
	maxTokenBytes = 32 << 10
)

// Cloud is the simulated cloud. Make one with New; its methods may be called at once
// from any number of goroutines.
type Cloud struct {
	cfg      Config
	dialect  dialect
	codes    codeTable
	log      *slog.Logger
	iam      *iam
	projects map[string]*project // fixed after New, so read without a lock
	throttle *throttle
	faults   *faults
	stats    *stats
}

// New makes a cloud. The zero Config is a cloud that works. It panics where
// Config.Validate reports an error.
func New(cfg Config) *Cloud {
	if err := cfg.Validate(); err != nil {
		panic("ddsfake: " + err.Error())
	}
	cfg = cfg.withDefaults()
	d, _ := dialectNamed(cfg.Dialect)
	c := &Cloud{
		cfg:      cfg,
		dialect:  d,
		codes:    readCodes(),
		log:      cfg.Logger,
		iam:      newIAM(cfg),
		projects: make(map[string]*project, len(cfg.Projects)),
		throttle: newThrottle(cfg),
		faults:   newFaults(cfg.Seed, cfg.Faults),
		stats:    newStats(),
	}
	for id, name := range cfg.Projects {
		c.projects[id] = newProject(id, name)
	}
	return c
}

// call is one request on its way through the gateway to the service.
type call struct {
	ctx       context.Context
	route     route
	requestID string
	query     map[string][]string
	host      string
	target    string // path and query
	token     string
	body      []byte
	late      time.Duration // the call executes that much later than it is answered
	listLag   time.Duration // of the instance that it makes, on top of the usual one
	jobFails  bool
}

func (k *call) param(name string) (string, bool) {
	v, ok := k.query[name]
	if !ok || len(v) == 0 {
		return "", false
	}
	return v[0], true
}

// ServeHTTP answers the cloud's calls, and under /__ those of the person who tests.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if isAdmin(r.URL.Path) {
		c.serveAdmin(w, r)
		return
	}
	k := &call{
		ctx:       r.Context(),
		route:     c.dialect.route(r.Method, r.URL.Path),
		requestID: hex32(),
		query:     r.URL.Query(),
		host:      r.Host,
		target:    r.URL.RequestURI(),
		token:     r.Header.Get("X-Auth-Token"),
	}
	started := time.Now()
	c.stats.begin(k.route.op, started)
	out := &outcome{}
	defer func() {
		c.stats.end(k.route.op, out)
		c.log.Debug("call", "op", string(k.route.op), "status", out.status, "code", out.code,
			"fault", string(out.fault), "request_id", k.requestID, "took", time.Since(started))
	}()
	c.serve(w, r, k, out)
}

// serve walks the gateway's checks in the order of dds-api.md §2.6.
func (c *Cloud) serve(w http.ResponseWriter, r *http.Request, k *call, out *outcome) {
	w.Header().Set("X-Request-Id", k.requestID)
	if c.cfg.ClockOffset != 0 {
		w.Header().Set("Date", c.now().UTC().Format(http.TimeFormat))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			c.write(w, c.failStatus(k, http.StatusRequestEntityTooLarge, "APIGW.0201", "Request entity too large"), out)
			return
		}
		drop(w) // the caller went away in the middle of its own request
		return
	}
	k.body = body
	if refusal, refused := c.gateway(k); refused {
		c.write(w, refusal, out)
		return
	}
	c.answer(w, k, out)
}

// gateway refuses what never reaches a service.
func (c *Cloud) gateway(k *call) (reply, bool) {
	switch {
	case k.route.op == OpUnknown:
		return c.fail(k, "APIGW.0101"), true
	case k.route.op == OpLogin:
		return reply{}, false
	case len(k.token) > maxTokenBytes:
		return c.failStatus(k, 494, "APIGW.0201", "Request header or cookie too large"), true
	}
	if code, message := c.iam.check(k.token, k.route.project, c.now()); code != "" {
		return c.failStatus(k, 0, code, message), true
	}
	if message, refused := c.throttle.refusal(k.route.project, time.Now()); refused {
		c.stats.countThrottled()
		return c.failStatus(k, 0, "APIGW.0308", message), true
	}
	return reply{}, false
}

// execute runs the call for real.
func (c *Cloud) execute(k *call) reply {
	switch k.route.op {
	case OpLogin:
		return c.login(k)
	case OpCreate:
		return c.create(k)
	case OpList:
		return c.list(k)
	case OpJob:
		return c.job(k)
	case OpJobs:
		return c.jobs(k)
	case OpDelete:
		return c.delete(k)
	case OpQuotas:
		return c.quotas(k)
	}
	return c.fail(k, "APIGW.0101")
}

// latency is how long the true answer to an operation takes, in real time.
func (c *Cloud) latency(op Op) time.Duration {
	switch op {
	case OpLogin:
		return c.cfg.LoginLatency
	case OpCreate:
		return c.cfg.CreateLatency
	}
	return 0
}

// now is the cloud's wall clock.
func (c *Cloud) now() time.Time { return time.Now().Add(c.cfg.ClockOffset) }

// scaled is how long something that takes d in the real cloud takes here.
func (c *Cloud) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / c.cfg.Speed)
}

// wait blocks for d, or until the caller has gone; it reports whether the caller is still there.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// reply is an answer before it goes over the wire.
type reply struct {
	status int
	header map[string]string
	body   []byte
	code   string // the error code in body, for the counters
}

func jsonReply(status int, v any) reply {
	body, err := json.Marshal(v)
	if err != nil { // only plain structs come here
		panic("ddsfake: " + err.Error())
	}
	return reply{status: status, header: map[string]string{"Content-Type": "application/json;charset=UTF-8"}, body: body}
}
