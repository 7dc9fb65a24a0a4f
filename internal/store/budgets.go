package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"ddsworker/internal/provision"
)

const readBudgetsSQL = `
select clock_timestamp(), scope, version, coalesce(learnt_rate, 0), coalesce(seen_rate, 0), cut_at, refused_at, throttled_since, hold_until,
	sent, sent_at, accepted, pace
from budgets where scope = any($1)`

// Budgets implements provision.BudgetStore. A scope that nobody asked for yet gets
// its row.
func (s *Store) Budgets(ctx context.Context, scopes []string) (states map[string]*provision.BudgetState, now time.Time, err error) {
	for range 2 {
		if states, now, err = s.readBudgets(ctx, scopes); err != nil || len(states) == len(scopes) {
			return states, now, translate(err)
		}
		if _, err = s.pool.Exec(ctx, `insert into budgets (scope) select unnest($1::text[]) order by 1 on conflict do nothing`, scopes); err != nil {
			return nil, now, translate(err)
		}
	}
	return nil, now, fmt.Errorf("the table budgets has %d rows for %d scopes", len(states), len(scopes))
}

func (s *Store) readBudgets(ctx context.Context, scopes []string) (map[string]*provision.BudgetState, time.Time, error) {
	rows, err := s.pool.Query(ctx, readBudgetsSQL, scopes)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer rows.Close()
	states, now := map[string]*provision.BudgetState{}, time.Time{}
	for rows.Next() {
		b, scope, pace := &provision.BudgetState{}, "", []byte{}
		c := &b.Ceiling
		if err := rows.Scan(&now, &scope, &b.Version, &c.Rate, &c.Seen, &instant{&c.Cut}, &instant{&c.Refused}, &instant{&c.Since}, &instant{&c.Hold},
			&c.Sent, &instant{&c.SentAt}, &c.Accepted, &pace); err != nil {
			return nil, now, err
		}
		if err := json.Unmarshal(pace, &b.Pace); err != nil {
			return nil, now, fmt.Errorf("budgets.pace of %s: %w; delete the row, it is made anew", scope, err)
		}
		states[scope] = b
	}
	return states, now, rows.Err()
}

// instant reads a timestamptz; NULL is the zero time.
type instant struct{ t *time.Time }

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (m *instant) ScanTimestamptz(v pgtype.Timestamptz) error {
	*m.t = v.Time
	return nil
}

// All rows or none: a row that somebody else wrote since it was read is not written
// over, and then the others are not either. What a crash of the database may lose
// of this is not worth waiting for the disk.
const saveBudgetsSQL = `
with input as (
	select * from unnest($1::text[], $2::bigint[], $3::float8[], $4::float8[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
		$8::timestamptz[], $9::float8[], $10::timestamptz[], $11::bigint[], $12::text[])
	as i(scope, version, learnt_rate, seen_rate, cut_at, refused_at, throttled_since, hold_until, sent, sent_at, accepted, pace)
), held as (
	select b.scope from budgets b join input i using (scope)
	where b.version = i.version
	order by b.scope
	for no key update of b
), quick as (
	select set_config('synchronous_commit', 'off', true) where (select count(*) from held) = (select count(*) from input)
)
update budgets b set version = b.version + 1, learnt_rate = nullif(i.learnt_rate, 0), seen_rate = nullif(i.seen_rate, 0), cut_at = i.cut_at,
	refused_at = i.refused_at, throttled_since = i.throttled_since, hold_until = i.hold_until, sent = i.sent, sent_at = i.sent_at,
	accepted = i.accepted, pace = i.pace::jsonb
from input i cross join quick
where b.scope = i.scope and b.version = i.version`

// SaveBudgets implements provision.BudgetStore.
func (s *Store) SaveBudgets(ctx context.Context, states map[string]*provision.BudgetState) (bool, error) {
	scopes := slices.Sorted(maps.Keys(states))
	type row = provision.BudgetState
	each := func(get func(row) time.Time) []*time.Time {
		return column(scopes, func(scope string) *time.Time { return moment(get(*states[scope])) })
	}
	number := func(get func(row) float64) []float64 {
		return column(scopes, func(scope string) float64 { return get(*states[scope]) })
	}
	tag, err := s.pool.Exec(ctx, saveBudgetsSQL, scopes,
		column(scopes, func(scope string) int64 { return states[scope].Version }),
		number(func(r row) float64 { return r.Ceiling.Rate }),
		number(func(r row) float64 { return r.Ceiling.Seen }),
		each(func(r row) time.Time { return r.Ceiling.Cut }),
		each(func(r row) time.Time { return r.Ceiling.Refused }),
		each(func(r row) time.Time { return r.Ceiling.Since }),
		each(func(r row) time.Time { return r.Ceiling.Hold }),
		number(func(r row) float64 { return r.Ceiling.Sent }),
		each(func(r row) time.Time { return r.Ceiling.SentAt }),
		column(scopes, func(scope string) int64 { return int64(states[scope].Ceiling.Accepted) }),
		column(scopes, func(scope string) string { return *marshal(states[scope].Pace) }))
	return err == nil && int(tag.RowsAffected()) == len(states), translate(err)
}
