// Package provision is the domain: what a request for a database instance is,
// which rules it must keep, which states it passes and who may move it from one
// to the next.
//
// It promises that a request which was accepted reaches an end state, that no second
// create call leaves while an earlier one may still work, and that every attempt and
// change of state is handed to the store to be kept. It knows neither NATS nor Postgres
// nor HTTP: those stand behind small interfaces, most of them in ports.go, the others
// beside the loop that needs them.
//
// Read worker.go first: it is the life of a request from top to bottom.
package provision
