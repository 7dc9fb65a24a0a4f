package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"ddsworker/internal/dds/ddsfake"
)

// outage is one thing that fails, and how it comes back.
type outage struct {
	name string
	// part is what /readyz must name, one of them if there are several; empty
	// where work goes on in spite of it.
	part  string
	begin func(ctx context.Context, r *outageRun) (end func() error, err error)
}

// outages lists what may fail around the workers.
func outages() []outage {
	return []outage{
		{"NATS is killed", "nats|inbox", func(_ context.Context, r *outageRun) (func() error, error) {
			return r.nats.start, r.nats.kill()
		}},
		{"NATS stands still", "nats|inbox|relay", func(_ context.Context, r *outageRun) (func() error, error) {
			return r.nats.resume, r.nats.pause()
		}},
		{"NATS cannot be reached", "nats|inbox", cutOff(func(r *outageRun) *proxy { return r.toNATS })},
		{"NATS is silent", "nats|inbox|relay", silenced(func(r *outageRun) *proxy { return r.toNATS })},
		{"the stream of requests is deleted", "inbox|streams", deleteRequests},
		{"the consumer is deleted", "inbox|streams", func(ctx context.Context, r *outageRun) (func() error, error) {
			return r.migrate(ctx), r.js.DeleteConsumer(ctx, "DDS_REQUESTS", "worker")
		}},
		{"the stream of events is deleted", "relay|streams", func(ctx context.Context, r *outageRun) (func() error, error) {
			r.eventsLost = true
			return r.migrate(ctx), r.js.DeleteStream(ctx, "DDS_EVENTS")
		}},
		{"the stream of requests is full", "", fillRequests},
		{"Postgres is killed", "database", func(ctx context.Context, r *outageRun) (func() error, error) {
			return func() error { return r.postgres.Restart(context.WithoutCancel(ctx), 0) }, r.postgres.Kill()
		}},
		{"Postgres fails over", "database", failOver},
		{"Postgres stands still", "database", func(_ context.Context, r *outageRun) (func() error, error) {
			return r.postgres.Pause()
		}},
		{"Postgres cannot be reached", "database", cutOff(func(r *outageRun) *proxy { return r.toPostgres })},
		{"Postgres is silent", "database", silenced(func(r *outageRun) *proxy { return r.toPostgres })},
		{"Postgres is slow", "", func(_ context.Context, r *outageRun) (func() error, error) {
			cure, err := r.toPostgres.slow(150 * time.Millisecond)
			return func() error { cure(); return nil }, err
		}},
		{"Postgres is read-only", "database", readOnly},
		{"Postgres is out of connections", "database", outOfConnections},
		{"Postgres reports deadlocks", "database", raising("40P01")},
		{"Postgres reports serialization failures", "database", raising("40001")},
		{"the cloud hangs", "calls to the cloud", func(_ context.Context, r *outageRun) (func() error, error) {
			goOn := r.cloud.hang()
			return func() error { goOn(); return nil }, nil
		}},
		{"the cloud cannot be reached", "calls to the cloud", cutOff(func(r *outageRun) *proxy { return r.toCloud })},
		{"the cloud is silent", "calls to the cloud", silenced(func(r *outageRun) *proxy { return r.toCloud })},
		{"the cloud resets connections", "calls to the cloud", misbehaving(ddsfake.DropBefore, ddsfake.DropAfter)},
		{"the cloud answers garbage", "calls to the cloud", garbage},
		{"the cloud is slow by bytes", "calls to the cloud", func(_ context.Context, r *outageRun) (func() error, error) {
			cure, err := r.toCloud.trickle(20)
			return func() error { cure(); return nil }, err
		}},
	}
}

func cutOff(line func(*outageRun) *proxy) func(context.Context, *outageRun) (func() error, error) {
	return func(_ context.Context, r *outageRun) (func() error, error) {
		line(r).cut()
		return line(r).open, nil
	}
}

func silenced(line func(*outageRun) *proxy) func(context.Context, *outageRun) (func() error, error) {
	return func(_ context.Context, r *outageRun) (func() error, error) {
		cure, err := line(r).silence()
		return func() error { cure(); return nil }, err
	}
}

// migrate makes what is missing, as an operator would.
func (r *outageRun) migrate(ctx context.Context) func() error {
	return func() error { return r.run(context.WithoutCancel(ctx), "migrate") }
}

// deleteRequests deletes the stream once it is empty: what it had acknowledged and
// nobody had taken in would be lost with it.
func deleteRequests(ctx context.Context, r *outageRun) (func() error, error) {
	r.load.hold()
	for !r.emptied(ctx) {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
	r.load.release()
	return r.migrate(ctx), r.js.DeleteStream(ctx, "DDS_REQUESTS")
}

// fillRequests lets the stream take nothing more.
func fillRequests(ctx context.Context, r *outageRun) (func() error, error) {
	limit := func(bytes int64) (was int64, err error) {
		ctx := context.WithoutCancel(ctx)
		stream, err := r.js.Stream(ctx, "DDS_REQUESTS")
		if err != nil {
			return 0, err
		}
		cfg := stream.CachedInfo().Config
		was, cfg.MaxBytes = cfg.MaxBytes, bytes
		_, err = r.js.UpdateStream(ctx, cfg)
		return was, err
	}
	was, err := limit(1)
	return func() error { _, err := limit(was); return err }, err
}

// failOver ends the server, and has it come back elsewhere.
func failOver(ctx context.Context, r *outageRun) (func() error, error) {
	if err := r.postgres.Shutdown(); err != nil {
		return nil, err
	}
	return func() error {
		port, err := freePort()
		if err != nil {
			return err
		}
		if err := r.postgres.Restart(context.WithoutCancel(ctx), port); err != nil {
			return err
		}
		r.toPostgres.cut()
		r.toPostgres.redirect(fmt.Sprintf("127.0.0.1:%d", port))
		r.db.Close()
		return errors.Join(r.toPostgres.open(), r.openDB(context.WithoutCancel(ctx)))
	}, nil
}

func readOnly(ctx context.Context, r *outageRun) (func() error, error) {
	set := func(value string) error {
		return r.exec(context.WithoutCancel(ctx), "alter system set default_transaction_read_only = "+value, "select pg_reload_conf()")
	}
	return func() error { return set("off") }, set("on")
}

// outOfConnections has somebody else take all connections.
func outOfConnections(ctx context.Context, r *outageRun) (func() error, error) {
	end := func() error {
		return r.exec(context.WithoutCancel(ctx), "alter role "+workerRole+" connection limit -1",
			"select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'somebody else'")
	}
	err := r.exec(ctx, "alter role "+workerRole+" connection limit 0",
		"select pg_terminate_backend(pid) from pg_stat_activity where usename = '"+workerRole+"'")
	if err != nil {
		return end, err
	}
	if err := r.takeConnections(ctx); err != nil {
		return end, err
	}
	return end, r.exec(ctx, "alter role "+workerRole+" connection limit -1")
}

// raising has every change of a request fail with a code.
func raising(code string) func(context.Context, *outageRun) (func() error, error) {
	return func(ctx context.Context, r *outageRun) (func() error, error) {
		end := func() error {
			return r.exec(context.WithoutCancel(ctx), "drop trigger if exists chaos on requests", "drop function if exists chaos")
		}
		return end, r.exec(ctx, "create function chaos() returns trigger language plpgsql as "+
			"$$begin raise exception 'chaos' using errcode = '"+code+"'; end$$",
			"create trigger chaos before insert or update on requests for each statement execute function chaos()")
	}
}

// misbehaving has every call of the cloud go wrong in one of these ways.
func misbehaving(kinds ...ddsfake.Kind) func(context.Context, *outageRun) (func() error, error) {
	return func(_ context.Context, r *outageRun) (func() error, error) {
		chances := map[ddsfake.Kind]float64{}
		for _, k := range kinds {
			chances[k] = 1 / float64(len(kinds))
		}
		return func() error { return r.cloud.fake.SetFaults(nil) }, r.cloud.fake.SetFaults(ddsfake.Faults{ddsfake.OpAny: chances})
	}
}

// garbage covers the cloud up with answers that nobody can read.
func garbage(_ context.Context, r *outageRun) (func() error, error) {
	answers := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>maintenance</html>") },
		func(w http.ResponseWriter) {
			w.WriteHeader(502)
			_, _ = io.WriteString(w, strings.Repeat("\x00\xff", 500))
		},
		func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"instances":17,"jobs":{},"id":`) },
		func(w http.ResponseWriter) { w.WriteHeader(503) },
	}
	n := make(chan int, 1)
	n <- 0
	r.cloud.coverUp(func(w http.ResponseWriter, _ *http.Request) bool {
		i := <-n
		n <- i + 1
		answers[i%len(answers)](w)
		return true
	})
	return func() error { r.cloud.coverUp(nil); return nil }, nil
}
