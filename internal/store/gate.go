package store

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrElsewhere means that the database is not where it was: a replica took over,
// or it was restored. Nothing is done with it before somebody has judged whether it
// lost something.
var ErrElsewhere = errors.New("the database is not where it was: it is being checked whether it lost something")

// ErrReplica means that the database can only be read. A failover may pass through
// that; it says nothing about whether something was lost, as a replica may lag.
var ErrReplica = errors.New("this database is a read-only replica: unless a failover is under way, let DATABASE_URL lead to the primary, " +
	"or name all hosts and target_session_attrs=read-write")

// place tells databases apart that hold the same: by server, by oid within it, and
// by timeline, which moves whenever a replica takes over and which a replica has none of.
type place struct {
	home, timeline string
	replica        bool
}

// Neither needs rights. A server that does not tell its timeline has none.
const (
	homeSQL     = `select (select system_identifier from pg_control_system())::text || '/' || oid::text from pg_database where datname = current_database()`
	timelineSQL = `select pg_is_in_recovery(), case when pg_is_in_recovery() then '' else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end`
)

func whereIs(ctx context.Context, conn *pgx.Conn) (p place, err error) {
	if err = conn.QueryRow(ctx, homeSQL).Scan(&p.home); err != nil {
		return place{}, err
	}
	err = conn.QueryRow(ctx, timelineSQL).Scan(&p.replica, &p.timeline)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && (pg.Code == "0A000" || pg.Code == "42501" || pg.Code == "42883") {
		err = nil
	}
	return p, err
}

// gate lets no new connection of a pool pass that leads elsewhere than to the
// place that was judged. Before the first judgement all pass.
type gate struct {
	mu     sync.Mutex
	judged place
	moved  chan struct{} // holds one while a connection was refused
}

func newGate() *gate { return &gate{moved: make(chan struct{}, 1)} }

// afterConnect is pgxpool's hook.
func (g *gate) afterConnect(ctx context.Context, conn *pgx.Conn) error {
	g.mu.Lock()
	judged := g.judged
	g.mu.Unlock()
	if judged == (place{}) {
		return nil
	}
	here, err := whereIs(ctx, conn)
	if err != nil || here == judged {
		return err
	}
	select {
	case g.moved <- struct{}{}:
	default:
	}
	if here.replica {
		return ErrReplica
	}
	return ErrElsewhere
}

// admit lets connections to a place pass and reports whether it is another one
// than before.
func (g *gate) admit(p place) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	changed = g.judged != p
	g.judged = p
	return changed
}
