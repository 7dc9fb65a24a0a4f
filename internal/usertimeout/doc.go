// Package usertimeout bounds how long the kernel repeats what it has sent on a TCP
// connection and nobody acknowledges: TCP_USER_TIMEOUT of tcp(7). It counts although
// the process stands still.
package usertimeout
