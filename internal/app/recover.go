package app

import (
	"context"
	"errors"
	"fmt"

	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
	"ddsworker/internal/store"
	"ddsworker/migrations"
)

// operator is what the commands of an operator work with.
type operator struct {
	db     *store.Store
	conn   *queue.Conn
	layout func(provision.Identity) queue.Layout
}

func (o *operator) close() error {
	o.db.Close()
	return o.conn.Close()
}

const ownersRights = "the rights of its owner, as `worker migrate` does"

// lacking adds what it takes to an error that comes of a missing right.
func lacking(err error, rights string) error {
	if errors.Is(err, store.ErrRights) {
		return fmt.Errorf("%w; it takes %s", err, rights)
	}
	return err
}

// operate migrates the database and connects to both sides.
func (a *App) operate(ctx context.Context) (*operator, error) {
	box, err := a.identity()
	if err != nil {
		return nil, err
	}
	applied, err := store.Migrate(ctx, a.Config.Database.URL.Reveal(), migrations.Files)
	if err != nil {
		return nil, err
	}
	a.Log.Info("the database is up to date", "migrations applied", applied)
	db, err := store.Open(ctx, store.Config{URL: a.Config.Database.URL, MaxConns: 2})
	if err != nil {
		return nil, err
	}
	conn, err := queue.Connect(ctx, a.nats(nil))
	if err != nil {
		db.Close()
		return nil, err
	}
	return &operator{db: db, conn: conn, layout: func(id provision.Identity) queue.Layout { return a.layout(id, box.Recipients()) }}, nil
}

// eventsAtOnce is of how many events the database is asked at once whether it has them.
const eventsAtOnce = 1000

// untold reads what the stream knows and the database does not.
func (o *operator) untold(ctx context.Context) (r provision.Recovery, err error) {
	var batch []provision.Event
	compare := func() error {
		knows, err := o.db.KnowsEvents(ctx, batch)
		if err != nil {
			return err
		}
		for n, e := range batch {
			r.Add(e, knows[n])
		}
		batch = batch[:0]
		return nil
	}
	err = queue.EachEvent(ctx, o.conn.JetStream(), func(e provision.Event) error {
		if batch = append(batch, e); len(batch) < eventsAtOnce {
			return nil
		}
		return compare()
	})
	if err == nil {
		err = compare()
	}
	return r, err
}

// Recover makes this database the rightful one, although it was restored or is
// elsewhere: it starts a new epoch, takes over what the events tell, has everything
// else that has not ended looked for before its next call, and gives it the streams.
func (a *App) Recover(ctx context.Context) (r provision.Recovered, err error) {
	o, err := a.operate(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	id, judged := judge(ctx, o.db, o.conn)
	if _, standing := errors.AsType[*provision.StandingError](judged); judged != nil && !standing {
		return r, judged
	}
	newest, err := o.db.NewestEvent(ctx)
	if err != nil {
		return r, err
	}
	known, err := o.untold(ctx)
	if err != nil {
		return r, err
	}
	r, err = o.db.Recover(ctx, id, a.Config.policy().Settle(), known.Known(), known.Last(), known.Told())
	if err != nil {
		return r, lacking(fmt.Errorf("recover the database: %w", err), ownersRights)
	}
	id.Installation, id.Epoch = r.Installation, r.Epoch
	if err := errors.Join(queue.Adopt(ctx, o.conn.JetStream(), o.layout(id)), queue.Setup(ctx, o.conn.JetStream(), o.layout(id))); err != nil {
		return r, fmt.Errorf("the database is recovered, but the streams do not know it: %w; run `worker recover` again", err)
	}
	if known.Known() == 0 && !newest.IsZero() {
		r.Since = newest
		a.Log.Warn("nobody can tell all that happened since the backup: DDS_EVENTS has nothing of what the database knows", "since", newest)
	}
	for _, lost := range r.Lost {
		a.Log.Warn("a request is lost: it is younger than the backup that the database was restored from",
			"request", lost.RequestID, "state", lost.State, "instance", lost.InstanceID)
	}
	return r, nil
}

// AdoptAsNew gives a copy of a database an identity of its own. It tells how many
// requests it ended, because they are the original's.
func (a *App) AdoptAsNew(ctx context.Context) (id provision.Identity, ended int, err error) {
	o, err := a.operate(ctx)
	if err != nil {
		return id, 0, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	streams, err := queue.Identities(ctx, o.conn.JetStream())
	if err != nil {
		return id, 0, err
	}
	for _, s := range streams {
		if s.Installation != "" {
			return id, 0, fmt.Errorf("stream %s belongs to installation %.80q: a copy needs a NATS of its own, so set NATS_URL; "+
				"where this NATS is a copy too, remove its streams first with `nats stream rm`", s.Stream, s.Installation)
		}
	}
	if id, err = o.db.Identity(ctx, provision.Event{}); err != nil {
		return id, 0, err
	}
	if id, ended, err = o.db.AdoptAsNew(ctx, id); err != nil {
		return id, 0, lacking(fmt.Errorf("adopt the database: %w", err), ownersRights)
	}
	return id, ended, queue.Setup(ctx, o.conn.JetStream(), o.layout(id))
}
