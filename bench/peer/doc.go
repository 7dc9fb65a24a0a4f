// Package peer holds what the worker is compared with: the floor, which makes the
// create calls and nothing else; a plain worker, as a good engineer writes it in an
// afternoon; and the same job on River. They keep the same history in the same
// tables, with none of the indexes that only our worker needs, and give none of its
// promises.
package peer
