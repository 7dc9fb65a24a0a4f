package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/dds/ddsfake"
)

// OutageConfig says how long the outages last and what is demanded.
type OutageConfig struct {
	Only     *regexp.Regexp // of the names; nil: all
	Duration time.Duration  // of each outage
	Before   time.Duration  // for which the rate before is measured
	Rate     int            // requests a second
	Workers  int            // default 2
	Named    time.Duration  // how soon /readyz must name the part
	Back     time.Duration  // how soon the rate must be back
	Settings []string       // of the workers, beside those of every run
	Out      io.Writer
}

// outageRun is a system under load.
type outageRun struct {
	*system
	cfg        OutageConfig
	load       *load
	publisher  *publisher
	taken      []*pgx.Conn // connections that somebody else holds
	eventsLost bool        // the stream of events was deleted
}

// measure is what an outage showed.
type measure struct {
	name   string
	named  time.Duration // until every worker named the part on /readyz
	said   string        // what it said
	lines  int           // logged by the worker that logged most
	cpu    float64       // of the worker that used most, processor seconds a second
	back   time.Duration // until the rate was back
	clear  time.Duration // until every worker was ready again
	before float64       // starts a second
	wrong  []string
}

// Outages lets one part after the other fail under load and prints how the workers
// took it. The error says what was not as promised.
func Outages(ctx context.Context, cfg OutageConfig) (err error) {
	if cfg.Workers == 0 {
		cfg.Workers = 2
	}
	s, err := startSystem(ctx, systemConfig{Workers: cfg.Workers, Database: []string{"max_connections=50"}, NATSDisk: true,
		Settings: append([]string{"SETUP=check", "POLL_INTERVAL=1s", "VISIBILITY_WINDOW=3s", "RETRY_MIN=500ms", "RETRY_MAX=5s"}, cfg.Settings...),
		Cloud: ddsfake.Config{ListLag: 500 * time.Millisecond, JobMin: 100 * time.Millisecond, JobMax: 500 * time.Millisecond,
			JobLag: -1, SettleLag: -1}})
	if err != nil {
		return fmt.Errorf("outages: start: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.waitReady(ctx, time.Minute); err != nil {
		return err
	}
	p, err := newPublisher(s)
	if err != nil {
		return err
	}
	r := &outageRun{system: s, cfg: cfg, publisher: p, load: startLoad(ctx, p, cfg.Rate)}
	var all []measure
	for _, o := range outages() {
		if cfg.Only != nil && !cfg.Only.MatchString(o.name) {
			continue
		}
		if o.onDisk && !s.nats.small {
			fmt.Fprintf(cfg.Out, "%s: NOT MEASURED, because only root can give NATS a small disk\n", o.name)
			continue
		}
		m, err := r.suffer(ctx, o)
		all = append(all, m)
		if err != nil {
			r.load.cancel()
			printMeasures(cfg.Out, all)
			s.showLogs(cfg.Out)
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	r.load.stop()
	printMeasures(cfg.Out, all)
	return r.conclude(ctx, all)
}

// conclude judges what came of the requests.
func (r *outageRun) conclude(ctx context.Context, all []measure) error {
	resting, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("no rest within two minutes"))
	defer cancel()
	rest := r.waitRest(resting)
	e, err := r.gather(ctx)
	if err != nil {
		return errors.Join(rest, err)
	}
	e.Acked, e.Lease, e.EventsLost = r.publisher.acknowledged(), time.Minute, r.eventsLost
	j := e.judge()
	fmt.Fprintf(r.cfg.Out, "%d requests: %v, %d attempts, %d adopted, %d duplicates, %d lost\n",
		len(e.Acked), j.Ends, j.Attempts, j.Adopted, j.Duplicates, j.Lost)
	var errs []error
	if len(j.Findings) > 0 {
		(&report{evidence: e, judgement: j}).explain(r.cfg.Out)
		errs = append(errs, fmt.Errorf("outages: %d findings", len(j.Findings)))
	}
	if j.Ends["failed"] > 0 {
		errs = append(errs, fmt.Errorf("outages: %d requests failed", j.Ends["failed"]))
	}
	for _, m := range all {
		for _, w := range m.wrong {
			errs = append(errs, fmt.Errorf("%s: %s", m.name, w))
		}
	}
	err = errors.Join(append(errs, rest)...)
	if err != nil {
		r.showLogs(r.cfg.Out)
	}
	return err
}

// suffer lets one thing fail and come back.
func (r *outageRun) suffer(ctx context.Context, o outage) (measure, error) {
	m := measure{name: o.name}
	if err := pause(ctx, r.cfg.Before); err != nil {
		return m, err
	}
	now := time.Now()
	m.before = float64(within(r.cloud.starts(), now.Add(-r.cfg.Before), now)) / r.cfg.Before.Seconds()
	lines, cpu := r.each(func(w *worker) float64 { return float64(w.lines()) }), r.each(func(w *worker) float64 { return w.cpu().Seconds() })
	end, err := o.begin(ctx, r)
	if err != nil {
		if end != nil {
			err = errors.Join(err, end())
		}
		return m, fmt.Errorf("begin: %w", err)
	}
	began := time.Now()
	m.named, m.said = r.watch(ctx, o.part, began)
	m.lines = int(r.most(lines, func(w *worker) float64 { return float64(w.lines()) }))
	m.cpu = r.most(cpu, func(w *worker) float64 { return w.cpu().Seconds() }) / time.Since(began).Seconds()
	if err := end(); err != nil {
		return m, fmt.Errorf("end: %w", err)
	}
	ended := time.Now()
	r.recover(ctx, &m, ended)
	r.check(o, &m)
	return m, context.Cause(ctx)
}

// watch asks /readyz until the outage is over, which lasts longer where nobody has
// named it yet, and returns when all workers had
// named the part, and what they said.
func (r *outageRun) watch(ctx context.Context, part string, began time.Time) (named time.Duration, said string) {
	by := map[string]bool{}
	goesOn := func() bool {
		passed := time.Since(began)
		return passed < r.cfg.Duration || part != "" && len(by) < len(r.workers) && passed < r.cfg.Named
	}
	for goesOn() && pause(ctx, 50*time.Millisecond) == nil {
		for _, w := range r.workers {
			_, problems, err := readyz(ctx, w.admin())
			if err != nil {
				continue
			}
			for _, p := range problems {
				if part != "" && slices.Contains(strings.Split(part, "|"), p.Part) && p.Error != "" && !p.Since.IsZero() && !by[w.name] {
					by[w.name] = true
					named, said = time.Since(began), p.Part+": "+p.Error
				}
			}
		}
	}
	if len(by) < len(r.workers) {
		return -1, said
	}
	return named, said
}

// recover waits until the rate is back and everybody is ready, for some time.
func (r *outageRun) recover(ctx context.Context, m *measure, ended time.Time) {
	limit := max(4*r.cfg.Back, 15*time.Second)
	want := int(0.8 * min(m.before, float64(r.cfg.Rate))) // more was made up for what waited
	m.back, m.clear = -1, -1
	for time.Since(ended) < limit && (m.back < 0 || m.clear < 0) && pause(ctx, 50*time.Millisecond) == nil {
		if m.back < 0 {
			if back, ok := backAfter(r.cloud.starts(), ended, time.Now(), want); ok {
				m.back = back
			}
		}
		if m.clear < 0 && r.allReady(ctx) {
			m.clear = time.Since(ended)
		}
	}
}

func (r *outageRun) allReady(ctx context.Context) bool {
	for _, w := range r.workers {
		if ready, _, err := readyz(ctx, w.admin()); err != nil || !ready {
			return false
		}
	}
	return true
}

// check compares what was measured with what is promised.
func (r *outageRun) check(o outage, m *measure) {
	wrong := func(format string, args ...any) { m.wrong = append(m.wrong, fmt.Sprintf(format, args...)) }
	for _, w := range r.workers {
		if !w.alive() {
			wrong("%s has ended", w.name)
		}
	}
	if o.part != "" && (m.named < 0 || m.named > r.cfg.Named) {
		wrong("/readyz did not name %s within %v (%v)", o.part, r.cfg.Named, m.named)
	}
	if m.back < 0 || m.back > r.cfg.Back {
		wrong("the rate was not back within %v (%v)", r.cfg.Back, m.back)
	}
	if m.clear < 0 {
		wrong("not everybody was ready again")
	}
	if most := 20; m.lines > most {
		wrong("a worker logged %d lines, more than %d", m.lines, most)
	}
	if most := 0.5; m.cpu > most {
		wrong("a worker used %.2f of a processor, more than %.2f", m.cpu, most)
	}
}

// each asks every worker for a number.
func (r *outageRun) each(f func(*worker) float64) []float64 {
	out := make([]float64, len(r.workers))
	for i, w := range r.workers {
		out[i] = f(w)
	}
	return out
}

// most is by how much a worker's number has grown at most.
func (r *outageRun) most(before []float64, f func(*worker) float64) (most float64) {
	for i, now := range r.each(f) {
		most = max(most, now-before[i])
	}
	return most
}

func printMeasures(out io.Writer, all []measure) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "outage\trate before\tnamed after\tlog lines\tCPU\trate back after\tready after\t/readyz said")
	for _, m := range all {
		fmt.Fprintf(w, "%s\t%.1f/s\t%s\t%d\t%.2f\t%s\t%s\t%.110s\n", m.name, m.before, seconds(m.named), m.lines, m.cpu, seconds(m.back), seconds(m.clear), m.said)
	}
	_ = w.Flush() // where it is printed to is the caller's
}

func seconds(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// exec runs statements as the superuser.
func (s *system) exec(ctx context.Context, statements ...string) error {
	for _, sql := range statements {
		if _, err := s.db.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// takeConnections connects as somebody else until the server lets nobody in who is
// no superuser.
func (r *outageRun) takeConnections(ctx context.Context) error {
	if err := r.exec(ctx, "do $$begin if not exists (select from pg_roles where rolname = 'somebody') then create role somebody login password 'chaos'; end if; end$$"); err != nil {
		return err
	}
	cfg, err := pgx.ParseConfig(r.databaseURL(r.postgres.URL()))
	if err != nil {
		return err
	}
	cfg.User, cfg.Password = "somebody", "chaos"
	cfg.RuntimeParams["application_name"] = "somebody else"
	for range 100 {
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			return nil // there is none left
		}
		r.taken = append(r.taken, conn)
	}
	return errors.New("there are more connections than the server should have")
}
