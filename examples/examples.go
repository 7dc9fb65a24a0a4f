// Package examples holds the documented requests, one of each kind of instance,
// to be published as they are.
package examples

import "embed"

// Documented are the four requests of the cloud's own documentation. They carry
// its sample password.
//
//go:embed cluster.json enhanced-cluster.json replica-set.json single-node.json
var Documented embed.FS
