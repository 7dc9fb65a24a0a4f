package store

import (
	"fmt"

	"ddsworker/internal/provision"
)

// fairly is the beginning of a claim: the CTE due with up to $3 rows of the
// projects $1, of each at most its number in $2. They take turns, so that no
// project waits behind another's backlog, and only what is taken is locked. SKIP
// LOCKED lets workers claim side by side. The rows of a project that are due are
// read from an index that begins with it, in the order of their due times.
//
// Whoever updates or reads what belongs to them looks up each by itself, by = any(array(
// select … from due)) or laterally: a join with due that was planned while there was one
// row reads a whole index for each of thousands.
func fairly(columns, due, order string) string {
	return fmt.Sprintf(`
with share as (
	select project_id, count(*) as n from (
		select p.project_id from unnest($1::text[], $2::int[]) p(project_id, most)
		cross join lateral (select row_number() over () as turn from
			(select 1 from %[2]s and project_id = p.project_id order by %[3]s limit least(p.most, $3::int)) waiting) its
		order by its.turn, random() limit $3) chosen
	group by project_id
), due as (
	select r.* from share p
	cross join lateral (
		select %[1]s from %[2]s and project_id = p.project_id order by %[3]s limit p.n
		for update skip locked) r
	limit $3 -- for the planner
)`, columns, due, order)
}

// most is how many rows of each project may be claimed, in the order of projects.
func most(q provision.ClaimQuery) []int32 {
	return column(q.Served.Projects, func(project string) int32 {
		if n, ok := q.Most[project]; ok {
			return int32(min(n, q.Limit))
		}
		return int32(q.Limit)
	})
}
