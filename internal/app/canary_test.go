package app_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
)

// TestNoSecretIsWritten sends secrets on every path, those that fail too, and
// then looks for them in all that was written: logs, output, rows, files and
// messages. Each path is shown to have been gone, and each place to have been
// searched, by a secret that was put there.
func TestNoSecretIsWritten(t *testing.T) {
	c := newCanaries(t)
	c.publishAll()
	c.work()
	c.workStrictly()
	c.outings()
	if left := c.gateway.spared(); len(left) > 0 {
		t.Errorf("no call met the fate of %v", left)
	}
	if n := c.cloud.Stats().TokensIssued; n == 0 || c.hunt.secret(fmt.Sprintf("token %d", n)) == "" {
		t.Errorf("%d tokens were given out, and not all are known", n)
	}
	c.wantSealed("clear-waits", "sealed-waits", "no-login")
	c.search()
}

// publishAll publishes what needs no answer first, and looks into the files of the
// server while it lies there: encrypted, nothing of it is found; and all of it is
// where it is not encrypted.
func (c *canaries) publishAll() {
	c.first = slices.Concat(c.routes.accepted(), c.routes.refused(), c.routes.answered())
	open := startNATSFiles(c.t, c.hunt.login("NATS_URL of the open server"), "")
	if _, err := open.js.CreateStream(c.t.Context(), c.stream("DDS_REQUESTS")); err != nil {
		c.t.Fatal(err)
	}
	for i := range c.first {
		if c.first[i].body == nil {
			c.first[i].body = c.routes.body(c.first[i].name)
		}
		c.gateway.befall("create "+c.first[i].name, c.first[i].befalls...)
		c.broker.publish(c.t, c.first[i])
		open.publish(c.t, c.first[i])
	}
	if n := c.broker.state(c.t, "DDS_REQUESTS").Msgs; n != uint64(len(c.first)) {
		c.t.Errorf("%d messages wait in the stream, want %d", n, len(c.first))
	}
	c.hunt.wantNone(c.t, "files of JetStream, with messages in them", files(c.t, c.broker.dir))
	clear := c.hunt.in(files(c.t, open.dir))
	for _, r := range c.first {
		found := slices.ContainsFunc(keys(clear), func(leak string) bool { return strings.HasPrefix(leak, r.name+", ") })
		if found != (len(c.hunt.in(r.body)) > 0) {
			c.t.Errorf("%s: found in files that are not encrypted: %t", r.name, found)
		}
	}
}

// work lets a worker take all routes, and later one whose login is refused.
func (c *canaries) work() {
	c.gateway.befall("list page-after", listPage)
	c.gateway.befall("login "+ddsfake.DefaultUser, refuse(500, "IAM.0006", inBase64(2)))
	c.gateway.befall("login stranger", refuse(401, "IAM.0062", func(i *intercepted) string { return inPlain(i) + inBase64(1)(i) }))
	w := c.start(nil)
	c.gone(c.first)
	if adopted := c.value(`select string_agg(name, ' ' order by name) from instances where adopted`); adopted != "broken page-after unidentified" {
		c.t.Errorf("adopted after a look are: %s", adopted)
	}
	c.send(c.routes.again())
	stranger := c.start(map[string]string{"WORKER_NAME": "stranger", "OS_PROJECT_ID": "strange",
		"OS_USERNAME": "stranger", "OS_PASSWORD": c.hunt.login("wrong OS_PASSWORD")})
	c.send(c.routes.strange())
	shown := append(pages(c.t, w), pages(c.t, stranger)...)
	for _, word := range []string{`ddsworker_messages_total{result="duplicate"} 1`, `ddsworker_messages_total{result="rejected"}`, "IAM.0062"} {
		if !bytes.Contains(shown, []byte(word)) {
			c.t.Errorf("the admin pages lack %s: %s", word, shown)
		}
	}
	c.hunt.wantNone(c.t, "admin pages", shown)
	w.stop()
	stranger.stop()
}

// workStrictly lets a process work that wants sealed passwords, until it is ended
// in a way that makes it print what all its goroutines do.
func (c *canaries) workStrictly() {
	strict := c.program.start(map[string]string{"REQUIRE_SEALED": "true", "LOG_FORMAT": "json", "WORKER_NAME": "strict"})
	c.send(c.routes.sealedOnly())
	strict.says(`"level":"DEBUG"`)
	if code := strict.end(syscall.SIGQUIT); code != 2 || !strings.Contains(strict.output.String(), "provision.(*Creator).Run") {
		c.t.Errorf("no trace of the worker, exit code %d: %s", code, strict.output)
	}
	c.hunt.wantNone(c.t, "output of a worker", []byte(strict.output.String()))
}

// send publishes requests and waits until they have gone their way.
func (c *canaries) send(all []route) {
	c.t.Helper()
	for _, r := range all {
		c.gateway.befall("create "+r.name, r.befalls...)
		c.broker.publish(c.t, r)
	}
	c.gone(all)
}

// gone waits until each request has come to its state, and fails unless it came
// there on its way.
func (c *canaries) gone(all []route) {
	var late []string
	defer func() {
		if len(late) > 0 {
			c.t.Errorf("not where they go: %q", late)
		}
	}()
	c.eventually("all requests where they go, and all of it told", func() bool {
		late = nil
		for _, r := range all {
			if !c.there(r) {
				late = append(late, r.name)
			}
		}
		return len(late) == 0 && c.broker.state(c.t, "DDS_REQUESTS").Msgs == 0 &&
			c.broker.state(c.t, "DDS_REJECTED").Msgs == uint64(c.count(`select count(*) from rejections`)) &&
			c.count(`select count(*) from outbox`) == 0
	})
	for _, r := range all {
		ways := c.value(`select coalesce(string_agg(concat_ws(' ', outcome, coalesce(error_class, '')), ';' order by number), '')
			from attempts where request_id = $1`, r.name)
		if r.state == provision.Rejected {
			ways = c.value(`select code || ' ' || reasons from rejections where request_id = $1`, r.name)
		}
		if !strings.HasPrefix(ways, r.via) && !strings.Contains(ways, ";"+r.via) {
			c.t.Errorf("%s has not gone by %q: %s", r.name, r.via, ways)
		}
	}
}

// there reports whether a request has come to its state, and says so.
func (c *canaries) there(r route) bool {
	if r.state == provision.Rejected {
		return c.count(`select count(*) from rejections where request_id = $1 and strpos(reasons::text, $2) > 0`, r.name, r.says) == 1
	}
	return c.count(`select count(*) from provisioning_history where request_id = $1 and state = $2
		and strpos(coalesce(error_message, ''), $3) > 0`, r.name, r.state, r.says) == 1
}

// wantSealed fails unless the requests wait with their passwords, and those open
// with the identity alone.
func (c *canaries) wantSealed(names ...string) {
	c.t.Helper()
	foreign := newIdentityIn(c.t, c.t.TempDir()+"/foreign.txt")
	for _, name := range names {
		var sealed []byte
		if err := c.db.QueryRow(c.t.Context(), `select sealed_password from requests where request_id = $1`, name).Scan(&sealed); err != nil {
			c.t.Fatal(err)
		}
		if got, err := c.box.Open(sealed, name); err != nil || got.Reveal() != c.hunt.secret(name) {
			c.t.Errorf("the password of %s does not lie sealed in its row: %v", name, err)
		}
		if got, err := foreign.Open(sealed, name); err == nil || !got.IsZero() {
			c.t.Errorf("the password of %s opens without the identity", name)
		}
	}
}

// search plants a secret in every place and looks for all others.
func (c *canaries) search() {
	const planted = "planted"
	secret := c.hunt.password(planted)
	for _, statement := range []string{`create schema planted`, `create table planted.rows as select '` + secret + `'::text::bytea as a`} {
		if _, err := c.db.Exec(c.t.Context(), statement); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, subject := range []string{"dds.rejected", "dds.events.planted", "$JS.EVENT.planted"} {
		if err := c.broker.nc.PublishMsg(&nats.Msg{Subject: subject, Header: nats.Header{"X": {secret}}}); err != nil {
			c.t.Fatal(err)
		}
	}
	c.eventually("the planted advisory", func() bool { return strings.Contains(c.advisories.String(), secret) })
	fmt.Fprintln(c.log, secret)
	places := c.dataFiles(c.begin)
	places["rows"], places["advisories"], places["log"] = c.rows(), []byte(c.advisories.String()), []byte(c.log.String())
	for _, stream := range []string{"DDS_REJECTED", "DDS_EVENTS"} {
		places[stream] = c.broker.messages(c.t, stream)
	}
	for place, text := range places {
		seen := c.hunt.wantNone(c.t, place, text, planted)
		if len(seen) == 0 && place != serverLog {
			c.t.Errorf("the secret that was planted in the %s is not found in its %d bytes", place, len(text))
		}
		c.t.Logf("searched: %s, %d bytes", place, len(text))
	}
	c.hunt.wantNone(c.t, "files of JetStream", files(c.t, c.broker.dir))
}
