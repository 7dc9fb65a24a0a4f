package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

// Store is everything that the loops, and people, ask of a store.
type Store interface {
	provision.IntakeStore
	provision.CreateStore
	provision.LookStore
	provision.RelayStore
	provision.BudgetStore
	provision.BuildStore
	ClaimPolls(ctx context.Context, q provision.ClaimQuery) ([]provision.PollClaim, error)
	KeepPoll(ctx context.Context, instanceID string, lease time.Duration) (bool, error)
	RecordPolls(ctx context.Context, batch []provision.PollResult) error
	Cancel(ctx context.Context, ids []string, by string) ([]provision.CancelFound, error)
	Retry(ctx context.Context, id string, sealedPassword []byte, by string) (bool, error)
}

// Conform checks what the ports promise. run calls its argument with an empty store
// whose time goes on only when sleep is called.
func Conform(t *testing.T, run func(t *testing.T, check func(t *testing.T, s Store, sleep func(time.Duration)))) {
	for name, f := range map[string]func(*bench){
		"what is accepted":                 accepting,
		"what is rejected":                 rejecting,
		"what is taken and then refused":   rejectingWhatIsTaken,
		"a claim holds":                    claimHolds,
		"a claim asks for what is served":  claimIsServed,
		"a region is served by itself":     regionIsServed,
		"projects take turns":              turns,
		"a late outcome":                   lateOutcome,
		"a late outcome of a surplus":      lateSurplus,
		"an outcome is recorded once":      recordedOnce,
		"waiting":                          waitingTime,
		"what did not leave":               notSent,
		"looking before the first call":    lookFirst,
		"what may appear late":             settling,
		"one open request of a name":       oneOfAName,
		"a batch is one transaction":       oneTransaction,
		"adopting":                         adopting,
		"polling":                          polling,
		"a late poll":                      latePoll,
		"a claim that is kept":             keeping,
		"how long builds take":             learning,
		"events":                           telling,
		"cancelling what never called":     cancelPending,
		"cancelling what is called":        cancelCreating,
		"cancelling what is built":         cancelBuilding,
		"retrying":                         retrying,
		"retrying what seemed gone":        retryingWhatSeemedGone,
		"cancelling what seemed gone":      cancellingWhatSeemedGone,
		"retrying an order":                retryingAnOrder,
		"budgets are not written over":     budgets,
		"the lead is one's":                lead,
		"a look that ends what is pending": lookEnds,
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, s Store, sleep func(time.Duration)) { f(&bench{t: t, Store: s, sleep: sleep}) })
		})
	}
}

// bench is a store whose calls must not fail.
type bench struct {
	t *testing.T
	Store
	sleep    func(time.Duration)
	messages uint64
}

const (
	project = "0123456789abcdef0123456789abcdef"
	other   = "fedcba9876543210fedcba9876543210"
	lease   = 10 * time.Second
	settle  = time.Minute
)

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) request(id, projectID string) provision.NewRequest {
	b.messages++
	return provision.NewRequest{ID: id, ProjectID: projectID, Region: "r", Name: "name-" + id, Mode: "Single", Spec: []byte(`{"a": 1}`),
		SealedPassword: []byte("sealed"), Fingerprint: [32]byte{1}, ReceivedAt: time.Unix(1700000000, 0), Sequence: b.messages}
}

// accept takes requests in, in a project whose tags are proved.
func (b *bench) accept(ids ...string) {
	b.t.Helper()
	b.must(b.NoteMarksSeen(b.t.Context(), project))
	b.acceptIn(project, ids...)
}

func (b *bench) acceptIn(projectID string, ids ...string) {
	b.t.Helper()
	for _, id := range ids {
		found, err := b.Accept(b.t.Context(), []provision.NewRequest{b.request(id, projectID)}, provision.ClaimQuery{})
		b.must(err)
		if found[0].Found != provision.Accepted {
			b.t.Fatalf("%s: found %v", id, found)
		}
	}
}

func (b *bench) query(limit int) provision.ClaimQuery {
	return provision.ClaimQuery{Served: provision.Served{Region: "r", Projects: []string{project, other}}, Worker: "w", Limit: limit,
		Lease: lease, Settle: settle}
}

func (b *bench) creates() []provision.CreateClaim {
	b.t.Helper()
	claims, err := b.ClaimCreates(b.t.Context(), b.query(100))
	b.must(err)
	return claims
}

func (b *bench) looks() []provision.LookClaim {
	b.t.Helper()
	claims, err := b.ClaimLooks(b.t.Context(), b.query(100))
	b.must(err)
	return claims
}

func (b *bench) polls() []provision.PollClaim {
	b.t.Helper()
	claims, err := b.ClaimPolls(b.t.Context(), b.query(100))
	b.must(err)
	return claims
}

// create claims the only request that may be called.
func (b *bench) create() provision.CreateClaim { b.t.Helper(); return one(b, b.creates()) }
func (b *bench) look() provision.LookClaim     { b.t.Helper(); return one(b, b.looks()) }
func (b *bench) poll() provision.PollClaim     { b.t.Helper(); return one(b, b.polls()) }

func one[T any](b *bench, claims []T) T {
	b.t.Helper()
	if len(claims) != 1 {
		b.t.Fatalf("claimed %d, want one", len(claims))
	}
	return claims[0]
}

func (b *bench) nothing() {
	b.t.Helper()
	if c, l := b.creates(), b.looks(); len(c)+len(l) > 0 {
		b.t.Fatalf("claimed %v and %v, want nothing", c, l)
	}
}

func made(c provision.CreateClaim) provision.CreateResult {
	return provision.CreateResult{RequestID: c.RequestID, Fence: c.Fence, Attempt: c.Attempt, Outcome: provision.OutcomeCreated,
		Created: provision.Created{InstanceID: "i-" + c.RequestID, JobID: "j-" + c.RequestID, Status: "creating", HTTPStatus: 202},
		Next:    provision.Next{State: provision.Building, Delay: 5 * time.Second}}
}

func failed(c provision.CreateClaim, o provision.Outcome, class provision.Class, next provision.Next) provision.CreateResult {
	return provision.CreateResult{RequestID: c.RequestID, Fence: c.Fence, Attempt: c.Attempt, Outcome: o, Next: next,
		Failure: &provision.Failure{Code: "CODE", Message: "why", Class: class}}
}

func (b *bench) record(results ...provision.CreateResult) {
	b.t.Helper()
	b.must(b.RecordCreates(b.t.Context(), results))
}

func (b *bench) reject(batch ...provision.Rejection) (taken []bool) {
	b.t.Helper()
	taken, err := b.Reject(b.t.Context(), batch)
	b.must(err)
	return taken
}

func (b *bench) recordLook(results ...provision.LookResult) {
	b.t.Helper()
	b.must(b.RecordLooks(b.t.Context(), results))
}

func (b *bench) recordPoll(results ...provision.PollResult) {
	b.t.Helper()
	b.must(b.RecordPolls(b.t.Context(), results))
}

func seen(c provision.LookClaim, next provision.Next) provision.LookResult {
	return provision.LookResult{RequestID: c.RequestID, Fence: c.Fence, Kind: provision.KindLooked, Next: next}
}

// build brings a request to the state building.
func (b *bench) build(id string) {
	b.t.Helper()
	b.accept(id)
	b.record(made(b.create()))
	b.sleep(5 * time.Second)
}

// events asserts what was told of a request, as kind:state, in order.
func (b *bench) events(id, want string) {
	b.t.Helper()
	all, _, err := b.Unpublished(b.t.Context(), 1000)
	b.must(err)
	var got []string
	for _, e := range all {
		if e.RequestID == id {
			got = append(got, e.Kind+":"+string(e.State))
		}
	}
	if g := strings.Join(got, " "); g != want {
		b.t.Fatalf("events of %s:\n got %s\nwant %s", id, g, want)
	}
}

func (b *bench) cancel(id string) provision.CancelFound {
	b.t.Helper()
	found, err := b.Cancel(b.t.Context(), []string{id}, "tester")
	b.must(err)
	return found[0]
}

func (b *bench) unstorable(err error) {
	b.t.Helper()
	if !errors.Is(err, provision.ErrUnstorable) {
		b.t.Fatalf("%v, want an error that says which row is to blame", err)
	}
}

func ids[T any](claims []T, id func(T) string) string {
	out := make([]string, len(claims))
	for n, c := range claims {
		out[n] = id(c)
	}
	slices.Sort(out)
	return fmt.Sprint(out)
}
