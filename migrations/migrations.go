// Package migrations holds the database's schema as SQL files, in the order of
// their names. They are written for Postgres 15 and later, and only ever added to.
package migrations

import "embed"

// Files are the migrations, for goose.
//
//go:embed *.sql
var Files embed.FS
