package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"ddsworker/internal/dds/ddsfake"
)

// Config says how much chaos there is.
type Config struct {
	Seed     uint64
	Requests int
	Faults   int           // what is broken on purpose; calls that go wrong by chance come on top
	Workers  int           // default 4
	Span     time.Duration // how long requests come and things are broken
	Limit    time.Duration // until everything must have ended, from the start
	Revoke   int           // how often the tokens are revoked
	Hide     int           // how often an instance is hidden for longer than the window
	Out      io.Writer     // the report
}

// Settings of the workers that make a run short. The list hides an instance for
// less than the window, unless it is hidden on purpose.
const (
	callTimeout = 2 * time.Second
	lease       = callTimeout + 3*time.Second
	window      = 5 * time.Second
	listLag     = 3 * time.Second
)

func settings() []string {
	return []string{fmt.Sprint("CALL_TIMEOUT=", callTimeout), fmt.Sprint("VISIBILITY_WINDOW=", window),
		"POLL_INTERVAL=1s", "RETRY_MIN=200ms", "RETRY_MAX=2s", "DATABASE_MAX_CONNS=6", "GRACE=5s",
		"AUDIT_INTERVAL=1s", "ORPHAN_QUARANTINE=2s", "ORPHAN_POLICY=report"}
}

// auditLimit is how long the audit may take to find a surplus instance: the list
// hides it at first, and it must be seen twice.
const auditLimit = 40 * time.Second

// chances are what goes wrong at the cloud by itself: a twentieth of the creates
// each is executed but not answered, executed and answered 500, or busy.
func chances() ddsfake.Faults {
	return ddsfake.Faults{
		ddsfake.OpCreate: {ddsfake.DropAfter: 0.025, ddsfake.HangAfter: 0.025, ddsfake.ServerErrorAfter: 0.05,
			ddsfake.BusyBefore: 0.025, ddsfake.BusyAfter: 0.025},
		ddsfake.OpAny: {ddsfake.ServerErrorBefore: 0.01, ddsfake.DropBefore: 0.01, ddsfake.CutShort: 0.005},
	}
}

// Run breaks a whole system as its seed says, waits until it has come to rest, and
// prints what was found. The error says that a promise was broken, or that the
// run itself could not be made.
func Run(ctx context.Context, cfg Config) (err error) {
	if cfg.Workers == 0 {
		cfg.Workers = 4
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.Limit, fmt.Errorf("chaos: not over after %v", cfg.Limit))
	defer cancel()
	fmt.Fprintf(cfg.Out, "chaos: CHAOS_SEED=%d, %d requests, %d faults within %v, %d workers\n", cfg.Seed, cfg.Requests, cfg.Faults, cfg.Span, cfg.Workers)
	s, err := startSystem(ctx, systemConfig{Workers: cfg.Workers, Settings: settings(), Cloud: ddsfake.Config{
		Seed: cfg.Seed, ListLag: listLag, JobMin: 200 * time.Millisecond, JobMax: 3 * time.Second, JobLag: 200 * time.Millisecond,
		SettleLag: 200 * time.Millisecond, DeleteTime: 500 * time.Millisecond}})
	if err != nil {
		return fmt.Errorf("chaos: start: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.waitReady(ctx, time.Minute); err != nil {
		return err
	}
	r, err := s.chaos(ctx, cfg)
	if err != nil {
		fmt.Fprintf(cfg.Out, "chaos: seed %d: %v\n", cfg.Seed, err)
		s.showLogs(cfg.Out)
		return err
	}
	r.print(cfg.Out)
	if len(r.Findings) > 0 {
		r.explain(cfg.Out)
		s.showLogs(cfg.Out)
		return fmt.Errorf("chaos: %d findings with CHAOS_SEED=%d", len(r.Findings), cfg.Seed)
	}
	return nil
}

// chaos is the run itself.
func (s *system) chaos(ctx context.Context, cfg Config) (*report, error) {
	p, err := newPublisher(s)
	if err != nil {
		return nil, err
	}
	if err := s.cloud.fake.SetFaults(chances()); err != nil {
		return nil, err
	}
	began := time.Now()
	in := newInjector(s, p, window+callTimeout)
	mended := make(chan error, 1)
	faults := schedule(cfg.Seed, cfg.Faults, cfg.Workers, cfg.Span, lease, map[kind]int{revokeTokens: cfg.Revoke, hideInstance: cfg.Hide})
	go func() { mended <- in.run(ctx, faults) }()
	for n := range cfg.Requests {
		if pause(ctx, time.Until(began.Add(time.Duration(n)*cfg.Span/time.Duration(cfg.Requests)))) != nil {
			break
		}
		p.publish(ctx, requestID(n))
	}
	if err := <-mended; err != nil {
		return nil, err
	}
	p.work.Wait()
	last := time.Now()
	if err := s.cloud.fake.SetFaults(nil); err != nil { // what went wrong by chance is over as well
		return nil, err
	}
	rest := s.waitRest(ctx)
	r := &report{Config: cfg, Requests: len(p.acknowledged()), Faults: in.counts, ByChance: s.cloud.fake.Stats().Faults,
		Took: time.Since(began), Recovery: time.Since(last)}
	gathering, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for found := time.Now(); ; {
		if r.evidence, err = s.gather(gathering); err != nil {
			return nil, errors.Join(err, rest)
		}
		r.evidence.Acked, r.evidence.Reused, r.evidence.Lease = p.acknowledged(), in.reused, lease
		r.judgement = r.evidence.judge()
		// A surplus instance that the list still hides takes its time to be found.
		if r.Duplicates == 0 || time.Since(found) > auditLimit || pause(ctx, time.Second) != nil {
			break
		}
	}
	if cfg.Hide > 1 && r.Orphans == 0 {
		r.find("", "%d instances were hidden for longer than the window, and no surplus is recorded", cfg.Hide)
	}
	if rest != nil {
		r.find("", "%v", rest)
	}
	if len(r.evidence.Acked) != cfg.Requests {
		r.find("", "only %d of %d requests could be published", len(r.evidence.Acked), cfg.Requests)
	}
	return r, nil
}

// waitRest waits until every request has ended and every event is published.
func (s *system) waitRest(ctx context.Context) error {
	var open, unpublished int
	for {
		// Asked first: what is taken in afterwards would be in neither.
		empty := s.emptied(ctx)
		err := s.db.QueryRow(ctx, `select (select count(*) from requests where finished_at is null),
			(select coalesce(sum(cardinality(events)), 0) from outbox)`).Scan(&open, &unpublished)
		if err == nil && open == 0 && unpublished == 0 && empty {
			return nil
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("it has not come to rest: %d requests are open, %d events unpublished (%w)",
				open, unpublished, errors.Join(context.Cause(ctx), err))
		}
	}
}

// emptied reports whether the stream of requests has been taken in whole.
func (s *system) emptied(ctx context.Context) bool {
	stream, err := s.js.Stream(ctx, "DDS_REQUESTS")
	return err == nil && stream.CachedInfo().State.Msgs == 0
}
