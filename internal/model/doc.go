// Package model lets whole workers live through hours of misfortune within
// milliseconds, and checks that the promises hold.
//
// It holds tests only. Several workers run all their loops in the virtual time of
// testing/synctest, on the store in memory that passes the same suite as Postgres
// (storetest) and a cloud at the level of the ports. What befalls them is drawn:
// deliveries twice and of other bodies, deaths and pauses at any side effect,
// statements that fail before or after they were committed, jumps of the database's
// clock, people who cancel and retry, answers that are lost, wrong or late, calls
// that are executed as late as their deadline allows, lists that lag or move.
package model
