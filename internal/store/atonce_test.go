package store_test

import (
	"testing"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/provision/storetest"
)

// What is taken in may be claimed in the same statement, as if right after it: no
// more than the query lets, the projects in turns, and nothing that must look first,
// was there already or is another region's.
func TestAcceptClaimsWhatItIsLet(t *testing.T) {
	for name, s := range map[string]interface {
		provision.IntakeStore
		provision.CreateStore
		provision.LookStore
	}{"memory": storetest.NewMemory(), "postgres": open(t).Store} {
		t.Run(name, func(t *testing.T) {
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			of := func(project, id string) provision.NewRequest {
				r := newRequest(id, uint64(len(id)))
				r.ProjectID = project
				return r
			}
			q := provision.ClaimQuery{Served: provision.Served{Region: region, Projects: []string{"a", "b", "c", "new"}}, Worker: "w",
				Limit: 3, Most: map[string]int{"c": 0}, Lease: time.Hour, Settle: time.Hour}
			for _, project := range []string{"a", "b", "c"} {
				must(s.NoteMarksSeen(t.Context(), project))
			}
			accept := func(batch ...provision.NewRequest) (claims []provision.CreateClaim) {
				t.Helper()
				found, err := s.Accept(t.Context(), batch, q)
				must(err)
				for n, f := range found {
					if f.Claim == nil {
						continue
					}
					if f.Found != provision.Accepted || f.Claim.RequestID != batch[n].ID {
						t.Fatalf("%+v for %s", f, batch[n].ID)
					}
					claims = append(claims, *f.Claim)
				}
				return claims
			}
			elsewhere := of("a", "elsewhere")
			elsewhere.Region = "bbb"
			claims := accept(elsewhere, of("new", "looks first"), of("c", "c bounded"), of("unserved", "x"),
				of("a", "a1"), of("a", "a2"), of("a", "a3"), of("b", "b1"))
			got := map[string]bool{}
			for _, c := range claims {
				got[c.RequestID] = true
				if c.Fence != 1 || c.Attempt != 1 || c.Mark == "" || string(c.SealedPassword) != "sealed" || c.Name != "name-"+c.RequestID {
					t.Errorf("claimed %+v", c)
				}
			}
			if len(got) != 3 || !got["a1"] || !got["a2"] || !got["b1"] {
				t.Errorf("claimed %v, want a1, a2 and b1", got)
			}
			if again := accept(of("a", "a1"), of("a", "a3")); len(again) != 0 {
				t.Errorf("claimed what was there: %v", again)
			}
			q.Most, q.Limit = nil, 100
			due, err := s.ClaimCreates(t.Context(), q)
			must(err)
			if len(due) != 2 { // a3 and c
				t.Errorf("%d are due to be claimed, want the 2 that were not: %v", len(due), due)
			}
			var results []provision.CreateResult
			for _, c := range claims {
				results = append(results, created(c))
			}
			must(s.RecordCreates(t.Context(), results))
		})
	}
}

func TestAClaimInTheInsertIsLikeAnyOther(t *testing.T) {
	d := open(t)
	d.must(d.NoteMarksSeen(t.Context(), project))
	found, err := d.Accept(t.Context(), []provision.NewRequest{newRequest("a", 1), newRequest("b", 2)},
		provision.ClaimQuery{Served: served, Worker: "w1", Limit: 2, Lease: -time.Second, Settle: time.Hour})
	d.must(err)
	d.wantEvents("a", "accepted:pending creating:creating")
	if got := one[string](d, `select format('%s %s %s %s', number, fence, worker, outcome) from attempts where request_id = 'a'`); got != "1 1 w1 " {
		t.Errorf("attempt %q", got)
	}
	// The worker was lost: the lease is over, and others look before they call.
	if claims := d.claim(time.Hour); len(claims) != 0 {
		t.Errorf("called without a look: %v", claims)
	}
	looks := d.looks(time.Hour)
	if len(looks) != 2 || looks[0].Fence != 2 || looks[0].LastOutcome != provision.OutcomeUnknown || !looks[0].MayHaveRun {
		t.Errorf("looks %+v", looks)
	}
	// What it reports late changes its attempt and nothing else.
	d.must(d.RecordCreates(t.Context(), []provision.CreateResult{created(*found[0].Claim)}))
	d.wantState("a", provision.Creating)
	if got := one[string](d, `select outcome from attempts where request_id = 'a'`); got != "created" {
		t.Errorf("attempt %q", got)
	}
}
