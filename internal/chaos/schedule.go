package chaos

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// kind is a way to break something.
type kind string

const (
	killWorker      kind = "kill -9 a worker"
	pauseWorker     kind = "pause a worker"
	pausePastLease  kind = "pause a worker past its lease"
	killPostgres    kind = "kill -9 Postgres"
	pausePostgres   kind = "pause Postgres"
	killNATS        kind = "kill -9 NATS"
	pauseNATS       kind = "pause NATS"
	cutCloud        kind = "cut the cloud off"
	cutPostgres     kind = "cut Postgres off"
	cutNATS         kind = "cut NATS off"
	slowCloud       kind = "slow the cloud down"
	slowPostgres    kind = "slow Postgres down"
	slowNATS        kind = "slow NATS down"
	silenceCloud    kind = "silence the cloud"
	silencePostgres kind = "silence Postgres"
	silenceNATS     kind = "silence NATS"
	publishAgain    kind = "publish again"
	reuseID         kind = "publish another body under the id"
	cancelOne       kind = "wish a request cancelled"
	revokeTokens    kind = "revoke the tokens"
	hideInstance    kind = "hide an instance for longer than the window"
)

// kindShare says how often a kind comes, how long it lasts, and what else may be
// broken by the same hands meanwhile: kinds of one target follow each other.
type kindShare struct {
	kind     kind
	weight   int
	min, max time.Duration
	target   target
}

// target is what a fault befalls.
type target int

const (
	aWorker target = iota
	postgresItself
	natsItself
	cloudLine
	postgresLine
	natsLine
	theStream
	theRequests
	theTokens
	theList
)

// shares is the mix. Lasting faults are few, so that something still works at
// most times; tokens are revoked seldom because a fresh one is kept for a minute.
func shares(lease time.Duration) []kindShare {
	const ms = time.Millisecond
	return []kindShare{
		{killWorker, 14, 50 * ms, 1500 * ms, aWorker},
		{pauseWorker, 10, 100 * ms, 2000 * ms, aWorker},
		{pausePastLease, 4, lease + 500*ms, lease + 3000*ms, aWorker},
		{killPostgres, 2, 0, 500 * ms, postgresItself},
		{pausePostgres, 3, 100 * ms, 2500 * ms, postgresItself},
		{killNATS, 2, 0, 500 * ms, natsItself},
		{pauseNATS, 3, 100 * ms, 2500 * ms, natsItself},
		{cutCloud, 5, 0, 1000 * ms, cloudLine},
		{cutPostgres, 4, 0, 1000 * ms, postgresLine},
		{cutNATS, 4, 0, 1000 * ms, natsLine},
		{slowCloud, 4, 500 * ms, 2500 * ms, cloudLine},
		{slowPostgres, 3, 500 * ms, 2000 * ms, postgresLine},
		{slowNATS, 3, 500 * ms, 2000 * ms, natsLine},
		{silenceCloud, 3, 300 * ms, 2000 * ms, cloudLine},
		{silencePostgres, 2, 300 * ms, 1500 * ms, postgresLine},
		{silenceNATS, 2, 300 * ms, 1500 * ms, natsLine},
		{publishAgain, 20, 0, 0, theStream},
		{reuseID, 8, 0, 0, theStream},
		{cancelOne, 6, 0, 0, theRequests},
	}
}

// fault is one thing that is broken, for a time.
type fault struct {
	At   time.Duration // after the start
	For  time.Duration
	Kind kind
	Whom int // which worker
	on   target
}

// schedule draws n faults over a span. Each kind of the mix comes at least once
// where n allows it; the rare ones come on top, as often as they are given.
func schedule(seed uint64, n, workers int, span, lease time.Duration, rare map[kind]int) []fault {
	chance := rand.New(rand.NewPCG(seed, 1))
	mix := shares(lease)
	total := 0
	for _, s := range mix {
		total += s.weight
	}
	var all []fault
	for i := range n {
		s := mix[i%len(mix)]
		if i >= len(mix) {
			at := chance.IntN(total)
			for _, s = range mix {
				if at -= s.weight; at < 0 {
					break
				}
			}
		}
		all = append(all, fault{At: time.Duration(chance.Int64N(int64(span))), For: s.min + time.Duration(chance.Int64N(int64(s.max-s.min)+1)),
			Kind: s.kind, Whom: chance.IntN(workers), on: s.target})
	}
	for _, k := range []struct {
		kind kind
		on   target
	}{{revokeTokens, theTokens}, {hideInstance, theList}} {
		for i := range rare[k.kind] { // evenly
			all = append(all, fault{At: time.Duration(2*i+1) * span / time.Duration(2*rare[k.kind]), Kind: k.kind, on: k.on})
		}
	}
	slices.SortStableFunc(all, func(a, b fault) int { return cmp.Compare(a.At, b.At) })
	return all
}
