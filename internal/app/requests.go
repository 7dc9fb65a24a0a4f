package app

import (
	"context"
	"errors"
	"fmt"

	"ddsworker/internal/provision"
	"ddsworker/internal/store"
)

// What people do with single requests. The database is all that it needs: the
// loops of the workers do the rest.

// openStanding opens the database, unless it is not where its workers judged it fit to
// act: in one that was restored or copied a wish is about what is not so any more. What
// only the streams could tell, a recovery mends.
func (a *App) openStanding(ctx context.Context) (*store.Store, error) {
	db, err := store.Open(ctx, store.Config{URL: a.Config.Database.URL, MaxConns: 1})
	if err != nil {
		return nil, err
	}
	id, err := db.Identity(ctx, provision.Event{})
	if err == nil {
		err = provision.JudgeStanding(id, nil, 0)
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// Cancel wishes requests cancelled and tells of each, through tell, what becomes of
// it. The error names every id that cannot be cancelled, why, and what to do.
func (a *App) Cancel(ctx context.Context, ids []string, by string, tell func(id, what string)) error {
	db, err := a.openStanding(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	found, err := db.Cancel(ctx, ids, by)
	if err != nil {
		return err
	}
	_ = db.Wake(ctx) // or the workers find them by themselves
	var problems []error
	for _, f := range found {
		switch problem := f.Problem(); {
		case problem != "":
			problems = append(problems, fmt.Errorf("%s is not cancelled: %s", f.RequestID, problem))
		case f.State == provision.Cancelled:
			tell(f.RequestID, "cancelled")
		case f.InstanceID != "":
			tell(f.RequestID, fmt.Sprintf("is being cancelled: instance %s is deleted", f.InstanceID))
		default:
			tell(f.RequestID, fmt.Sprintf("is being cancelled: it is %s, and what its call may have made is looked for", f.State))
		}
	}
	return errors.Join(problems...)
}

// Retry makes failed requests pending again, each with the password if there is
// one. The error names every id that cannot be retried, why, and what to do.
func (a *App) Retry(ctx context.Context, ids []string, password provision.Secret, by string, tell func(id, what string)) error {
	if _, err := provision.ParseDialect(a.Config.Cloud.Dialect); err != nil {
		return err
	}
	db, err := a.openStanding(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	var problems []error
	for _, id := range ids {
		what, err := a.retry(ctx, db, id, password, by)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s is not retried: %w", id, err))
			continue
		}
		tell(id, what)
	}
	_ = db.Wake(ctx) // or the workers find them by themselves
	return errors.Join(problems...)
}

func (a *App) retry(ctx context.Context, db *store.Store, id string, password provision.Secret, by string) (what string, err error) {
	f, err := db.Retryable(ctx, id)
	if err != nil {
		return "", err
	}
	if problem := f.Problem(!password.IsZero()); problem != "" {
		return "", errors.New(problem)
	}
	var sealed []byte
	if !password.IsZero() {
		if err := a.Config.rules().CheckPassword(f.Spec, password); err != nil {
			return "", err
		}
		box, err := a.identity()
		if err != nil {
			return "", err
		}
		if sealed, err = box.Seal(password, id); err != nil {
			return "", err
		}
	}
	switch ok, err := db.Retry(ctx, id, sealed, by); {
	case err != nil:
		return "", err
	case !ok:
		return "", errors.New("it has left failed meanwhile: somebody else retried it")
	case f.InstanceID != "":
		return fmt.Sprintf("is retried: instance %s is taken if it lives, and must be gone if the cloud could not build it", f.InstanceID), nil
	case f.Prepaid:
		return "is retried: if no list shows its instance, its prepaid order is sent again, so see first that the account has none", nil
	}
	return "is retried", nil
}
