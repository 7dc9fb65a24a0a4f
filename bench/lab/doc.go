// Package lab is the bench everything is measured on: a Postgres, a NATS and the
// simulated cloud, each a process of its own so that its CPU time can be told
// apart, and the processes under measurement.
//
// It promises that nothing of it is left, neither a process nor a directory, once
// Close has returned or this process is gone. It reads /proc, so CPU time and
// memory are told on Linux alone.
package lab
