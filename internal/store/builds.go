package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"ddsworker/internal/provision"
)

// Workers learn one after the other, so that what they hold they hold in no order
// that another crosses. It is one round trip, so nobody waits for a paused worker.
const (
	fadeBuildsSQL = `
update build_times b set ended = ended / 2, exposed = exposed / 2
from (select project_id, mode, flavor from build_times where project_id = any($1)
	group by project_id, mode, flavor having sum(ended) > $2) full_of
where b.project_id = full_of.project_id and b.mode = full_of.mode and b.flavor = full_of.flavor`

	addBuildsSQL = `
insert into build_times as b (project_id, mode, flavor, span, ended, exposed)
select * from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::float8[], $6::float8[])
on conflict (project_id, mode, flavor, span) do update set ended = b.ended + excluded.ended, exposed = b.exposed + excluded.exposed`

	knownBuildsSQL = `select project_id, mode, flavor, span, ended, exposed from build_times where project_id = any($1)`
)

// LearnBuilds implements provision.BuildStore.
func (s *Store) LearnBuilds(ctx context.Context, projects []string, seen []provision.BuildSpan) (known []provision.BuildSpan, err error) {
	type row = provision.BuildSpan
	var batch pgx.Batch
	if len(seen) > 0 {
		batch.Queue(learnLockSQL)
		batch.Queue(fadeBuildsSQL, projects, provision.RememberedBuilds)
		batch.Queue(addBuildsSQL,
			column(seen, func(r row) string { return r.Kind.ProjectID }),
			column(seen, func(r row) string { return r.Kind.Mode }),
			column(seen, func(r row) string { return r.Kind.Flavor }),
			column(seen, func(r row) int32 { return int32(r.Span) }),
			column(seen, func(r row) float64 { return r.Ended }),
			column(seen, func(r row) float64 { return r.Exposed }))
	}
	batch.Queue(knownBuildsSQL, projects).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var b provision.BuildSpan
			if err := rows.Scan(&b.Kind.ProjectID, &b.Kind.Mode, &b.Kind.Flavor, &b.Span, &b.Ended, &b.Exposed); err != nil {
				return err
			}
			known = append(known, b)
		}
		return rows.Err()
	})
	err = s.pool.SendBatch(ctx, &batch)
	return known, translate(err)
}
