package store

import "context"

// Waiting implements provision.BacklogStore. It reads the two indexes that requests
// are claimed by, and no further than it has to.
func (s *Store) Waiting(ctx context.Context, upTo int) (n int, err error) {
	err = s.pool.QueryRow(ctx, `
		select (select count(*) from (select 1 from requests where state = 'pending' and not look_first limit $1) c)
			+ (select count(*) from (select 1 from requests where state = 'creating' or (state = 'pending' and look_first) limit $1) l)`, upTo).Scan(&n)
	return n, translate(err)
}
