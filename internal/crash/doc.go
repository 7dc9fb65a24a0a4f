// Package crash stops a worker after each single side effect of it, one by one
// and then in all pairs, and checks that what comes after keeps the promises.
//
// It holds tests only. A run has a database of Postgres, the simulated cloud
// behind the real client, and a stream and its reader in memory; all of them live
// in the virtual time of testing/synctest, the database too (envtest.Clock). A
// worker goes round by round, and each of its side effects has a number: every
// call of the store, of the cloud, of the stream. At the number where it is to
// die, whatever it does from there on is refused, and a new worker starts on what
// it left behind.
package crash
