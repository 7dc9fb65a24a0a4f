// Package chaos runs a whole installation, breaks every part of it on purpose
// and judges what is left: real worker processes, a Postgres and a NATS server in
// processes of their own, and the simulated cloud, with toxiproxy between them.
//
// It promises that a run can be repeated from its seed as far as scheduling
// allows, that every wait of it is bounded, that it believes nothing that the
// workers say without comparing it with what the cloud saw, and that no process
// outlives it, however it ends.
//
// Chaos breaks many things at once and at random; Outages break one thing at a
// time, and measure how the workers tell of it and how soon they are back.
package chaos
