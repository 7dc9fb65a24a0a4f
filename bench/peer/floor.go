package peer

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// Floor makes create calls and nothing else.
type Floor struct {
	CloudURL, Project string
	Example           []byte
	Requests          int
	Concurrency       int
}

// Run makes all calls.
func (f Floor) Run(ctx context.Context) error {
	cloud, err := NewCloud(ctx, f.CloudURL, f.Project, f.Concurrency)
	if err != nil {
		return err
	}
	var next atomic.Int64
	calls, ctx := errgroup.WithContext(ctx)
	for range f.Concurrency {
		calls.Go(func() error {
			for n := int(next.Add(1)); n <= f.Requests; n = int(next.Add(1)) {
				resp, err := cloud.send(ctx, http.MethodPost, "/v3/"+f.Project+"/instances", tagged(Body(f.Example, Name(n)), uuid.NewString()), http.StatusAccepted)
				if err == nil {
					err = drop(resp)
				}
				if err != nil {
					return fmt.Errorf("create call %d: %w", n, err)
				}
			}
			return nil
		})
	}
	return calls.Wait()
}
