package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ddsworker/internal/dds/ddsfake"
)

// injector breaks things as scheduled, and mends them.
type injector struct {
	system    *system
	publisher *publisher
	window    time.Duration // VISIBILITY_WINDOW and what a call may take

	mu     sync.Mutex
	counts map[kind]int
	reused map[string]int // acknowledged publications of another body, by id
	errs   []error
}

func newInjector(s *system, p *publisher, window time.Duration) *injector {
	return &injector{system: s, publisher: p, window: window, counts: map[kind]int{}, reused: map[string]int{}}
}

// run breaks and mends everything that is scheduled. What befalls one target
// comes one after the other. It returns what could not be mended.
func (in *injector) run(ctx context.Context, faults []fault) error {
	type key struct {
		on   target
		whom int
	}
	lanes := map[key][]fault{}
	for _, f := range faults {
		k := key{on: f.on}
		if f.on == aWorker {
			k.whom = f.Whom
		}
		lanes[k] = append(lanes[k], f)
	}
	began := time.Now()
	var work sync.WaitGroup
	for _, lane := range lanes {
		work.Go(func() {
			for _, f := range lane {
				if pause(ctx, time.Until(began.Add(f.At))) != nil {
					return
				}
				in.note(f.Kind, in.inject(ctx, f))
			}
		})
	}
	work.Wait()
	in.mu.Lock()
	defer in.mu.Unlock()
	return errors.Join(in.errs...)
}

// errNothing: there was nothing that the fault could befall yet.
var errNothing = errors.New("nothing to befall")

func (in *injector) note(k kind, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case errors.Is(err, errNothing):
	case err != nil:
		in.errs = append(in.errs, fmt.Errorf("%s: %w", k, err))
	default:
		in.counts[k]++
	}
}

// inject breaks something, waits, and mends it; it is mended also when ctx ends.
func (in *injector) inject(ctx context.Context, f fault) error {
	s := in.system
	switch f.Kind {
	case killWorker:
		w := s.workers[f.Whom]
		if err := w.kill(); err != nil {
			return err
		}
		_ = pause(ctx, f.For)
		return w.start()
	case pauseWorker, pausePastLease:
		w := s.workers[f.Whom]
		return between(ctx, f.For, w.pause, w.resume)
	case killPostgres:
		return between(ctx, f.For, s.postgres.Kill, func() error { return s.postgres.Restart(context.WithoutCancel(ctx), 0) })
	case pausePostgres:
		resume, err := s.postgres.Pause()
		if err != nil {
			return err
		}
		_ = pause(ctx, f.For)
		return resume()
	case killNATS:
		return between(ctx, f.For, s.nats.kill, s.nats.start)
	case pauseNATS:
		return between(ctx, f.For, s.nats.pause, s.nats.resume)
	case publishAgain, reuseID, cancelOne, revokeTokens, hideInstance:
		return in.trick(ctx, f)
	}
	return in.line(ctx, f)
}

// line is what befalls a connection.
func (in *injector) line(ctx context.Context, f fault) error {
	s := in.system
	p := map[target]*proxy{cloudLine: s.toCloud, postgresLine: s.toPostgres, natsLine: s.toNATS}[f.on]
	ill := func(cure func(), err error) error {
		if err != nil {
			return err
		}
		_ = pause(ctx, f.For)
		cure()
		return nil
	}
	switch f.Kind {
	case cutCloud, cutPostgres, cutNATS:
		return between(ctx, f.For, func() error { p.cut(); return nil }, p.open)
	case slowCloud, slowPostgres, slowNATS:
		return ill(p.slow(100*time.Millisecond + f.For/10))
	case silenceCloud, silencePostgres, silenceNATS:
		return ill(p.silence())
	}
	return fmt.Errorf("nobody knows how to %s", f.Kind)
}

// trick is what lasts no time.
func (in *injector) trick(ctx context.Context, f fault) error {
	s := in.system
	switch f.Kind {
	case revokeTokens:
		s.cloud.fake.RevokeTokens(ddsfake.RevokeGateway)
		return nil
	case cancelOne:
		return in.cancel(ctx)
	case hideInstance:
		return s.cloud.fake.Script(ddsfake.OpCreate, ddsfake.Answer{Kind: ddsfake.ServerErrorAfter, ListLag: in.window + 4*time.Second})
	}
	// Only an id that the database has by now is surely the first body's.
	// Where Postgres is away it is waited for.
	var id string
	for s.db.QueryRow(ctx, `select request_id from requests order by random() limit 1`).Scan(&id) != nil {
		if pause(ctx, 50*time.Millisecond) != nil {
			return errNothing
		}
	}
	if f.Kind == publishAgain {
		_ = in.publisher.once(ctx, id, 0) // whether it arrives does not matter
		return nil
	}
	in.mu.Lock()
	in.reused[id]++
	variant := in.reused[id]
	in.mu.Unlock()
	if in.publisher.once(ctx, id, variant) != nil {
		in.mu.Lock()
		in.reused[id]--
		in.mu.Unlock()
	}
	return nil
}

// cancel wishes a request cancelled that has not ended.
func (in *injector) cancel(ctx context.Context) error {
	for {
		done, err := in.system.db.Exec(ctx, `update requests set cancel_requested_at = now(), cancel_requested_by = 'chaos'
			where request_id = (select request_id from requests where finished_at is null and cancel_requested_at is null
				order by random() limit 1 for update skip locked) and finished_at is null`)
		switch {
		case err == nil && done.RowsAffected() > 0:
			return nil
		case pause(ctx, 50*time.Millisecond) != nil:
			return errNothing
		}
	}
}

// between breaks something, and mends it after d, even if ctx ends before.
func between(ctx context.Context, d time.Duration, breakIt, mend func() error) error {
	if err := breakIt(); err != nil {
		return errors.Join(err, mend())
	}
	_ = pause(ctx, d)
	return mend()
}
