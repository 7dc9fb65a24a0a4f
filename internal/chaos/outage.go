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
	part string
	// onDisk: it needs a NATS with a small disk of its own.
	onDisk bool
	begin  func(ctx context.Context, r *outageRun) (end func() error, err error)
}

// outages lists what may fail around the workers.
func outages() []outage {
	return []outage{
		{name: "NATS is killed", part: "nats|inbox", begin: func(_ context.Context, r *outageRun) (func() error, error) {
			return r.nats.start, r.nats.kill()
		}},
		{name: "NATS stands still", part: "nats|inbox|relay", begin: func(_ context.Context, r *outageRun) (func() error, error) {
			return r.nats.resume, r.nats.pause()
		}},
		{name: "NATS cannot be reached", part: "nats|inbox", begin: cutOff(func(r *outageRun) *proxy { return r.toNATS })},
		{name: "NATS is silent", part: "nats|inbox|relay", begin: silenced(func(r *outageRun) *proxy { return r.toNATS })},
		{name: "the stream of requests is deleted", part: "inbox|streams", begin: deleteRequests},
		{name: "the consumer is deleted", part: "inbox|streams", begin: func(ctx context.Context, r *outageRun) (func() error, error) {
			return r.migrate(ctx), r.js.DeleteConsumer(ctx, "DDS_REQUESTS", "worker")
		}},
		{name: "the stream of events is deleted", part: "relay|streams", begin: func(ctx context.Context, r *outageRun) (func() error, error) {
			r.eventsLost = true
			return r.migrate(ctx), r.js.DeleteStream(ctx, "DDS_EVENTS")
		}},
		{name: "the stream of requests is full", part: "streams", begin: fillRequests},
		{name: "the disk of NATS is full", onDisk: true, begin: fillNATSDisk},
		{name: "Postgres is killed", part: "database", begin: func(ctx context.Context, r *outageRun) (func() error, error) {
			return func() error { return r.postgres.Restart(context.WithoutCancel(ctx), 0) }, r.postgres.Kill()
		}},
		{name: "Postgres fails over", part: "database", begin: failOver},
		{name: "Postgres stands still", part: "database", begin: func(_ context.Context, r *outageRun) (func() error, error) {
			return r.postgres.Pause()
		}},
		{name: "Postgres cannot be reached", part: "database", begin: cutOff(func(r *outageRun) *proxy { return r.toPostgres })},
		{name: "Postgres is silent", part: "database", begin: silenced(func(r *outageRun) *proxy { return r.toPostgres })},
		{name: "Postgres is slow", part: "database speed", begin: func(_ context.Context, r *outageRun) (func() error, error) {
			cure, err := r.toPostgres.slow(150 * time.Millisecond)
			return func() error { cure(); return nil }, err
		}},
		{name: "Postgres is read-only", part: "database writes", begin: readOnly},
		{name: "Postgres is out of connections", part: "database", begin: outOfConnections},
		{name: "Postgres reports deadlocks", part: "database writes", begin: raising("40P01")},
		{name: "Postgres reports serialization failures", part: "database writes", begin: raising("40001")},
		{name: "the cloud hangs", part: "calls to the cloud", begin: func(_ context.Context, r *outageRun) (func() error, error) {
			goOn := r.cloud.hang()
			return func() error { goOn(); return nil }, nil
		}},
		{name: "the cloud cannot be reached", part: "calls to the cloud", begin: cutOff(func(r *outageRun) *proxy { return r.toCloud })},
		{name: "the cloud is silent", part: "calls to the cloud", begin: silenced(func(r *outageRun) *proxy { return r.toCloud })},
		{name: "the cloud resets connections", part: "calls to the cloud", begin: misbehaving(ddsfake.DropBefore, ddsfake.DropAfter)},
		{name: "the cloud answers garbage", part: "calls to the cloud", begin: garbage},
		{name: "the cloud is slow by bytes", part: "calls to the cloud", begin: func(_ context.Context, r *outageRun) (func() error, error) {
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
	if err := r.drain(ctx); err != nil {
		return nil, err
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

// fillNATSDisk leaves NATS no room. Somebody makes room, restarts it and makes the
// streams anew that it could not read again: nats-server 2.15 may break the state of
// a stream when its disk is full, so what that had acknowledged is taken in before.
func fillNATSDisk(ctx context.Context, r *outageRun) (func() error, error) {
	if err := r.drain(ctx); err != nil {
		return nil, err
	}
	makeRoom, err := r.nats.fillDisk()
	if err != nil {
		return nil, err
	}
	r.eventsLost = true
	r.load.release()
	return func() error {
		return errors.Join(makeRoom(), r.nats.kill(), r.nats.start(), r.migrate(ctx)())
	}, nil
}

// drain holds the load until everything that was acknowledged is taken in.
func (r *outageRun) drain(ctx context.Context) error {
	r.load.hold()
	for !r.emptied(ctx) {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
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
