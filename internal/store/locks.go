package store

import "strconv"

// The advisory locks of ours. All but one are told apart from anybody else's in the
// same database by a key that begins with "dds".
const (
	ourLocks  = int64('d')<<24 | int64('d')<<16 | int64('s')<<8
	relayLock = ourLocks | 1 // of whoever relays
	idLocks   = ourLocks | 2 // the first of two keys; the second is a bucket of ids
	pruneLock = ourLocks | 3 // of whoever prunes

	// learnLockSQL lets workers learn build times one after the other.
	learnLockSQL = `select pg_advisory_xact_lock(hashtext('build_times'))`
)

// idBuckets is how many locks the ids of requests share, because the server has room
// for few. It is a power of two.
const idBuckets = 64

// A request's events are committed in the order of their ids: the queue knows a
// published one by its place among them. Before there is a row to hold, that takes a
// lock of the request's id, from before an event gets its id until the end of the
// transaction. Requests never wait for each other, only for refusals of the same id.
// Buckets are sorted, so that no two wait for each other.
var (
	lockIDsSharedSQL = `select pg_advisory_xact_lock_shared(` + ofIDs
	lockIDsSQL       = `select pg_advisory_xact_lock(` + ofIDs
	ofIDs            = idKey + `, bucket) from (select distinct (hashtextextended(id, 0) & ` + strconv.Itoa(idBuckets-1) + `)::int as bucket
		from unnest($1::text[]) id order by bucket) b`
	idKey = strconv.FormatInt(idLocks, 10)

	// lockAllIDsSQL waits for everybody who holds one of them.
	lockAllIDsSQL = `select pg_advisory_xact_lock(` + idKey + `, bucket) from generate_series(0, ` + strconv.Itoa(idBuckets-1) + `) bucket`
)
