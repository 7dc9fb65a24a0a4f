package app

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
	"ddsworker/internal/tokencache"
)

// metrics are what Prometheus scrapes. The ports are measured from outside, so
// the domain knows nothing of it.
type metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.HistogramVec
	messages *prometheus.CounterVec
	events   prometheus.Counter
	clear    prometheus.Counter
	waits    *prometheus.HistogramVec
}

func newMetrics(db *store.Store, version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ddsworker_cloud_call_seconds",
			Help:    "Calls to the cloud, by operation and by the class of their error (ok: none).",
			Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10}}, []string{"operation", "class"}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ddsworker_messages_total",
			Help: "Messages taken from the request stream, by what became of them."}, []string{"result"}),
		events: prometheus.NewCounter(prometheus.CounterOpts{Name: "ddsworker_events_published_total",
			Help: "Events published to the stream of events."}),
		clear: prometheus.NewCounter(prometheus.CounterOpts{Name: "ddsworker_clear_passwords_total",
			Help: "Passwords that came in the clear and were sealed at the door."}),
		waits: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ddsworker_rate_wait_seconds",
			Help:    "How long calls to the cloud waited for the rate budget, by lane; calls that passed at once are not counted.",
			Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5}}, []string{"lane"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "ddsworker_build_info", Help: "1, with the version as a label.",
		ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.registry.MustRegister(m.calls, m.messages, m.events, m.clear, m.waits, build, &liveRequests{count: db.LiveRequests}, orphans{db},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

func (m *metrics) watchDropped(dropped func() uint64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "ddsworker_rejected_copies_dropped_total",
		Help: "Copies of refused messages that found no room; the records in the database are complete."},
		func() float64 { return float64(dropped()) }))
}

func (m *metrics) watchBacklog(stopped func() bool) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "ddsworker_intake_stopped",
		Help: "1 while INTAKE_LIMIT requests wait, so that more stay in the stream."}, func() float64 {
		if stopped() {
			return 1
		}
		return 0
	}))
}

func (m *metrics) waited(lane provision.Lane, d time.Duration) {
	m.waits.WithLabelValues(lane.String()).Observe(d.Seconds())
}

func (m *metrics) watchCeilings(ceilings func() map[string]float64) {
	m.registry.MustRegister(ceilingGauge(ceilings))
}

// ceilingGauge shows how fast the cloud lets projects be called.
type ceilingGauge func() map[string]float64

var ceilingDesc = prometheus.NewDesc("ddsworker_rate_ceiling",
	"Calls a second that the cloud allows for a project, as its 429s taught; absent where it refused none lately.", []string{"project"}, nil)

func (g ceilingGauge) Describe(ch chan<- *prometheus.Desc) { ch <- ceilingDesc }

func (g ceilingGauge) Collect(ch chan<- prometheus.Metric) {
	for project, rate := range g() {
		ch <- prometheus.MustNewConstMetric(ceilingDesc, prometheus.GaugeValue, rate, project)
	}
}

// liveRequests counts the requests that have not ended when it is scraped, but not
// before a hundred times of what counting took has passed: beside a million, several
// who scrape often would have nothing else counted. What cannot be counted is as it was.
type liveRequests struct {
	count  func(context.Context) (map[provision.State]int, error)
	mu     sync.Mutex
	counts map[provision.State]int
	due    time.Time
}

// countLimit leaves most of the ten seconds that Prometheus waits for a whole scrape.
const countLimit = 2 * time.Second

var liveDesc = prometheus.NewDesc("ddsworker_live_requests", "Requests of the whole fleet that have not ended, by state.", []string{"state"}, nil)

func (l *liveRequests) Describe(ch chan<- *prometheus.Desc) { ch <- liveDesc }

func (l *liveRequests) Collect(ch chan<- prometheus.Metric) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if began := time.Now(); !began.Before(l.due) {
		ctx, cancel := context.WithTimeout(context.Background(), countLimit)
		defer cancel()
		counts, err := l.count(ctx)
		l.due = time.Now().Add(100 * time.Since(began))
		if err == nil {
			l.counts = counts
		} else if l.counts == nil {
			ch <- prometheus.NewInvalidMetric(liveDesc, err)
		}
	}
	for state, n := range l.counts {
		ch <- prometheus.MustNewConstMetric(liveDesc, prometheus.GaugeValue, float64(n), string(state))
	}
}

// orphans counts them when it is scraped.
type orphans struct{ db *store.Store }

var orphansDesc = prometheus.NewDesc("ddsworker_orphans", "Instances with a mark of ours that no request has, by what is done with them.", []string{"state"}, nil)

func (o orphans) Describe(ch chan<- *prometheus.Desc) { ch <- orphansDesc }

func (o orphans) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), countLimit)
	defer cancel()
	counts, err := o.db.Orphans(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(orphansDesc, err)
		return
	}
	for state, n := range counts {
		ch <- prometheus.MustNewConstMetric(orphansDesc, prometheus.GaugeValue, float64(n), state)
	}
}

func (m *metrics) call(operation string, began time.Time, err error) {
	class := "ok"
	if err != nil {
		class = string(provision.AsCloudError(err).Class)
	}
	m.calls.WithLabelValues(operation, class).Observe(time.Since(began).Seconds())
}

// cloudClient is what a worker calls of the cloud.
type cloudClient interface {
	provision.InstanceCreator
	provision.InstanceDeleter
	provision.InstanceLister
	provision.JobReader
}

type measuredCloud struct {
	cloud cloudClient
	m     *metrics
}

func (c *measuredCloud) CreateInstance(ctx context.Context, projectID string, body []byte) (created provision.Created, err error) {
	defer func(began time.Time) { c.m.call("create", began, err) }(time.Now())
	return c.cloud.CreateInstance(ctx, projectID, body)
}

func (c *measuredCloud) DeleteInstance(ctx context.Context, projectID, instanceID string) (jobID, cloudRequestID string, err error) {
	defer func(began time.Time) { c.m.call("delete", began, err) }(time.Now())
	return c.cloud.DeleteInstance(ctx, projectID, instanceID)
}

func (c *measuredCloud) ListInstances(ctx context.Context, projectID string, q provision.InstanceQuery) (page provision.InstancePage, err error) {
	defer func(began time.Time) { c.m.call("list", began, err) }(time.Now())
	return c.cloud.ListInstances(ctx, projectID, q)
}

func (c *measuredCloud) Job(ctx context.Context, projectID, jobID string) (job provision.Job, err error) {
	defer func(began time.Time) { c.m.call("job", began, err) }(time.Now())
	return c.cloud.Job(ctx, projectID, jobID)
}

func (c *measuredCloud) Jobs(ctx context.Context, projectID string, w provision.JobWindow) (page provision.JobPage, err error) {
	defer func(began time.Time) { c.m.call("jobs", began, err) }(time.Now())
	return c.cloud.Jobs(ctx, projectID, w)
}

type measuredLogin struct {
	login tokencache.Login
	m     *metrics
}

func (l measuredLogin) Login(ctx context.Context, projectID string) (t tokencache.Token, err error) {
	defer func(began time.Time) { l.m.call("login", began, err) }(time.Now())
	return l.login.Login(ctx, projectID)
}

type measuredIntake struct {
	provision.IntakeStore
	m *metrics
}

func (s measuredIntake) Accept(ctx context.Context, batch []provision.NewRequest, q provision.ClaimQuery) ([]provision.Acceptance, error) {
	found, err := s.IntakeStore.Accept(ctx, batch, q)
	names := map[provision.Found]string{provision.Accepted: "accepted", provision.Duplicate: "duplicate"}
	for _, a := range found {
		if name := names[a.Found]; name != "" { // what conflicts is counted when it is rejected
			s.m.messages.WithLabelValues(name).Inc()
		}
	}
	return found, err
}

func (s measuredIntake) Reject(ctx context.Context, batch []provision.Rejection) ([]bool, error) {
	taken, err := s.IntakeStore.Reject(ctx, batch)
	if err != nil {
		return nil, err
	}
	for _, before := range taken {
		name := "rejected"
		if before {
			name = "duplicate"
		}
		s.m.messages.WithLabelValues(name).Inc()
	}
	return taken, nil
}

// measuredSealer counts what the intake seals.
type measuredSealer struct {
	provision.Sealer
	m *metrics
}

func (s measuredSealer) Seal(password provision.Secret, context string) ([]byte, error) {
	s.m.clear.Inc()
	return s.Sealer.Seal(password, context)
}

type measuredEvents struct {
	provision.EventPublisher
	m *metrics
}

func (e measuredEvents) Publish(ctx context.Context, after uint64, events []provision.Event) (provision.Published, error) {
	published, err := e.EventPublisher.Publish(ctx, after, events)
	e.m.events.Add(float64(len(published.IDs)))
	return published, err
}
