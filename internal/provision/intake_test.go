package provision

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

// bookStore keeps requests in memory, as the database would.
type bookStore struct {
	known    map[string][32]byte
	taken    string // an id whose message was taken in before
	rejected []Rejection
	poison   string // a name that it will not take
	down     bool
}

func (b *bookStore) Accept(_ context.Context, batch []NewRequest, _ ClaimQuery) ([]Acceptance, error) {
	if b.down {
		return nil, errors.New("down")
	}
	out := make([]Acceptance, len(batch))
	for _, r := range batch {
		if b.poison != "" && r.Name == b.poison {
			return nil, fmt.Errorf("a row: %w", ErrUnstorable)
		}
	}
	for n, r := range batch {
		switch f, ok := b.known[r.ID]; {
		case !ok:
			b.known[r.ID] = r.Fingerprint
		case f == r.Fingerprint:
			out[n].Found = Duplicate
		default:
			out[n].Found = Conflicting
		}
	}
	return out, nil
}

func (b *bookStore) Reject(_ context.Context, batch []Rejection) ([]bool, error) {
	b.rejected = append(b.rejected, batch...)
	taken := make([]bool, len(batch))
	for n, r := range batch {
		taken[n] = r.RequestID == b.taken
	}
	return taken, nil
}

// settled notes what became of a delivery.
type settled struct{ how []string }

func (s *settled) Ack() error              { s.how = append(s.how, "ack"); return nil }
func (s *settled) Term(string) error       { s.how = append(s.how, "term"); return nil }
func (s *settled) Nak(time.Duration) error { s.how = append(s.how, "nak"); return nil }

type noCopies struct{}

func (noCopies) Copy(Rejection) {}

type plainSealer struct{}

func (plainSealer) Seal(p Secret, _ string) ([]byte, error)      { return []byte("sealed"), nil }
func (plainSealer) Keep(sealed string) ([]byte, error)           { return []byte(sealed), nil }
func (plainSealer) Kept([]byte) bool                             { return false }
func (plainSealer) Open(sealed []byte, _ string) (Secret, error) { return NewSecret("x"), nil }

func testIntake(store *bookStore) *Intake {
	return &Intake{Store: store, Copies: noCopies{}, Sealer: plainSealer{}, Health: quietHealth(), Log: slog.New(slog.DiscardHandler),
		Served: Served{Region: "aaa", Projects: []string{"p"}}}
}

func messages(t *testing.T, idsAndNames ...string) ([]Message, []*settled) {
	t.Helper()
	body, err := os.ReadFile("testdata/single.json")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := (Rules{}).Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	var batch []Message
	var settlers []*settled
	for i := 0; i < len(idsAndNames); i += 2 {
		s := &settled{}
		settlers = append(settlers, s)
		batch = append(batch, Message{ID: idsAndNames[i], Settle: s, Sequence: uint64(i),
			Body: []byte(strings.Replace(string(body), `"`+spec.Name+`"`, `"`+idsAndNames[i+1]+`"`, 1))})
	}
	return batch, settlers
}

func wantSettled(t *testing.T, settlers []*settled, want ...string) {
	t.Helper()
	for i, s := range settlers {
		if len(s.how) != 1 || s.how[0] != want[i] {
			t.Errorf("message %d was settled by %v, want %s", i, s.how, want[i])
		}
	}
}

// A message that this worker would refuse, and that is a request already, is not told
// as refused to anybody.
func TestWhatIsARequestAlreadyIsNoRejection(t *testing.T) {
	copies := make(chan Rejection, 2)
	in := testIntake(&bookStore{taken: "a"})
	in.Copies = copiesTo(copies)
	messages, settlers := messages(t, "a", "1 is no name", "b", "1 is no name")
	if err := in.take(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
	wantSettled(t, settlers, "ack", "term")
	if close(copies); len(copies) != 1 || (<-copies).RequestID != "b" {
		t.Error("copied is more than b")
	}
}

type copiesTo chan Rejection

func (c copiesTo) Copy(r Rejection) { c <- r }

// claimingStore claims so many of what it takes in as are asked for.
type claimingStore struct{ bookStore }

func (s *claimingStore) Accept(ctx context.Context, batch []NewRequest, q ClaimQuery) ([]Acceptance, error) {
	found, err := s.bookStore.Accept(ctx, batch, q)
	for n := range min(q.Limit, len(found)) {
		found[n].Claim = &CreateClaim{RequestID: batch[n].ID, ProjectID: batch[n].ProjectID}
	}
	return found, err
}

func TestOnlyWhatIsNotClaimedWaitsForSomebody(t *testing.T) {
	waiting := NewBell()
	in := testIntake(nil)
	in.Store = &claimingStore{bookStore{known: map[string][32]byte{}}}
	in.Creator = &Creator{Served: in.Served, Policy: DefaultPolicy(), Concurrency: 2, Due: NewBell()}
	in.Waiting = []Bell{waiting}
	for _, batch := range []struct {
		messages []string
		waits    int
	}{{[]string{"a", "name-a", "b", "name-b"}, 0}, {[]string{"a", "name-a"}, 0}, {[]string{"c", "name-c"}, 1}} {
		messages, _ := messages(t, batch.messages...)
		if err := in.take(t.Context(), messages); err != nil {
			t.Fatal(err)
		}
		if len(waiting) != batch.waits {
			t.Errorf("%v: rung %d times, want %d", batch.messages, len(waiting), batch.waits)
		}
	}
}

// A message that is accepted already and comes again beside another body with its
// id is a duplicate; the other body is what is refused.
func TestOneIdWithTwoBodiesInABatch(t *testing.T) {
	store := &bookStore{known: map[string][32]byte{}}
	in := testIntake(store)
	batch, settlers := messages(t, "a", "first")
	if err := in.take(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	wantSettled(t, settlers, "ack")
	batch, settlers = messages(t, "a", "second", "a", "first", "a", "second", "b", "other")
	if err := in.take(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	wantSettled(t, settlers, "term", "ack", "term", "ack")
	for _, r := range store.rejected {
		if r.Code != CodeIDReused || r.Name != "second" {
			t.Errorf("rejected %s %s", r.Code, r.Name)
		}
	}
}

func TestARowThatCannotBeStoredIsRejectedWithItsTwins(t *testing.T) {
	store := &bookStore{known: map[string][32]byte{}, poison: "poison"}
	batch, settlers := messages(t, "a", "good-1", "x", "poison", "b", "good-2", "x", "poison")
	if err := testIntake(store).take(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	wantSettled(t, settlers, "ack", "term", "ack", "term")
	if len(store.rejected) != 2 || store.rejected[0].Code != CodeUnstorable {
		t.Errorf("rejected %+v", store.rejected)
	}
}

func TestWhatCannotBeTakenInIsGivenBack(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	batch, settlers := messages(t, "a", "name")
	if err := testIntake(&bookStore{down: true}).take(ctx, batch); err == nil {
		t.Error("no error although the store is down")
	}
	wantSettled(t, settlers, "nak")
}
