package store_test

import (
	"fmt"
	"testing"
	"time"

	"ddsworker/internal/provision"
)

// Plans that were made while there was a single request meet thousands: each is looked
// up by itself, and no index is read from end to end for each of them.
func TestThousandsMeetThePlansOfOne(t *testing.T) {
	const builds, each = 2000, 500
	d := open(t)
	d.must(d.NoteMarksSeen(t.Context(), project))
	e := d.explained()
	query := provision.ClaimQuery{Served: served, Worker: "w1", Limit: each, Lease: time.Minute, Settle: time.Minute}
	const most = 40 // pages of a row
	step := func(what string, rows int, call func() error) {
		t.Helper()
		pages := e.of(t, call).pages
		t.Logf("%s of %d: %d pages", what, rows, pages)
		if rows > 1 && pages > most*rows {
			t.Errorf("to %s of %d touches %d pages", what, rows, pages)
		}
	}
	build := func(n int) {
		var batch []provision.NewRequest
		for range n {
			d.n++
			batch = append(batch, newRequest(fmt.Sprintf("live-%d", d.n), d.n))
		}
		_, err := e.Accept(t.Context(), batch, provision.ClaimQuery{})
		d.must(err)
		var claims []provision.CreateClaim
		step("claim creates", n, func() (err error) { claims, err = e.ClaimCreates(t.Context(), query); return err })
		var results []provision.CreateResult
		for _, c := range claims {
			results = append(results, unanswered(c))
		}
		step("record creates", n, func() error { return e.RecordCreates(t.Context(), results) })
		var looks []provision.LookClaim
		step("claim looks", n, func() (err error) { looks, err = e.ClaimLooks(t.Context(), query); return err })
		if len(looks) != n {
			t.Fatalf("%d looks were claimed, want %d", len(looks), n)
		}
		var found []provision.LookResult
		for _, l := range looks {
			found = append(found, adopted(l))
		}
		step("record looks", n, func() error { return e.RecordLooks(t.Context(), found) })
	}
	poll := func(want int) {
		t.Helper()
		var polls []provision.PollClaim
		step("claim polls", want, func() (err error) { polls, err = e.ClaimPolls(t.Context(), query); return err })
		if len(polls) != want {
			t.Fatalf("%d polls were claimed, want %d", len(polls), want)
		}
		var seen []provision.PollResult
		for _, p := range polls {
			seen = append(seen, finished(p))
		}
		step("record polls", want, func() error { return e.RecordPolls(t.Context(), seen) })
	}
	for range 2 {
		build(1)
		d.exec(`vacuum analyze`)
		poll(1)
	}
	for range builds / each {
		build(each)
	}
	for range builds / each {
		poll(each)
	}
}
