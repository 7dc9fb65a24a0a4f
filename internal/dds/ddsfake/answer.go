package ddsfake

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"
)

// outcome is what became of a call, for the counters and the log.
type outcome struct {
	status int // 0: the caller got no status
	code   string
	fault  Kind
}

// scripted is the counter of scripted answers without a kind.
const scripted Kind = "scripted"

// answer lets the call happen or not, and answers it truly or not.
func (c *Cloud) answer(w http.ResponseWriter, k *call, out *outcome) {
	a, hit := c.faults.next(k.route.op)
	if hit {
		out.fault = a.Kind
		setDefault(&out.fault, scripted)
		k.late, k.listLag, k.jobFails = a.Late, a.ListLag, a.JobFails
	}
	var r reply
	if a.executes() {
		r = c.execute(k)
	}
	if !a.truly() {
		r = c.scriptedReply(k, a, r)
	}
	if len(a.Header) > 0 {
		header := maps.Clone(r.header)
		if header == nil {
			header = map[string]string{}
		}
		maps.Copy(header, a.Header)
		r.header = header
	}
	if !wait(k.ctx, c.latency(k.route.op)+a.Delay) {
		drop(w)
		return
	}
	c.deliver(w, k, a.Kind, r, out)
}

// scriptedReply is the answer that a script or a kind wants instead of the true one.
func (c *Cloud) scriptedReply(k *call, a Answer, honest reply) reply {
	r := reply{status: a.Status}
	switch {
	case a.Body != "":
		r.body = []byte(a.Body)
		r.header = map[string]string{"Content-Type": "application/json;charset=UTF-8"}
	case a.Code != "":
		return c.failStatus(k, a.Status, serviceCode(k.route.op, a.Code), a.Message)
	}
	setDefault(&r.status, honest.status)
	setDefault(&r.status, http.StatusOK)
	return r
}

// serviceCode is what IAM calls a fault that is a kind's in DDS's words.
func serviceCode(op Op, code string) string {
	if op != OpLogin {
		return code
	}
	switch code {
	case "DBS.200998", "DBS.280443":
		return "IAM.0012"
	case "DBS.280005":
		return "IAM.0006"
	case "DBS.201014", "DBS.280032", "DBS.280015", "DBS.280019":
		return "IAM.0003"
	}
	return code
}

// deliver sends the answer the way the kind wants it sent.
func (c *Cloud) deliver(w http.ResponseWriter, k *call, kind Kind, r reply, out *outcome) {
	switch kind {
	case DropBefore, DropAfter:
		drop(w)
	case HangBefore, HangAfter:
		<-k.ctx.Done()
		drop(w)
	case Redirect:
		w.Header().Set("Location", "//"+k.host+k.target)
		r.status = http.StatusTemporaryRedirect
		c.write(w, r, out)
	case CutShort:
		w.Header().Set("Content-Length", strconv.Itoa(len(r.body)))
		r.body = r.body[:len(r.body)/2]
		c.write(w, r, out)
		flush(w)
		hangUp(w, false)
	case CutJSON:
		r.body = r.body[:len(r.body)/2]
		c.write(w, r, out)
	case NoID:
		c.write(w, r.withoutID(), out)
	case HugeBody:
		c.writeHuge(w, r, out)
	case SlowBytes:
		c.writeSlowly(w, k, r, out)
	default:
		c.write(w, r, out)
	}
}

func (c *Cloud) writeHead(w http.ResponseWriter, r reply, out *outcome) {
	for name, value := range r.header {
		w.Header().Set(name, value)
	}
	out.status, out.code = r.status, r.code
	w.WriteHeader(r.status)
}

func (c *Cloud) write(w http.ResponseWriter, r reply, out *outcome) {
	c.writeHead(w, r, out)
	_, _ = w.Write(r.body) // the caller may have gone; there is nobody to tell
}

// writeHuge sends JSON that never seems to end.
func (c *Cloud) writeHuge(w http.ResponseWriter, r reply, out *outcome) {
	c.writeHead(w, r, out)
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	if _, err := w.Write([]byte(`{"padding":"`)); err != nil {
		return
	}
	for left := c.cfg.HugeBody; left > 0; left -= int64(len(chunk)) {
		if _, err := w.Write(chunk[:min(left, int64(len(chunk)))]); err != nil {
			return
		}
	}
	_, _ = w.Write([]byte(`"}`))
}

func (c *Cloud) writeSlowly(w http.ResponseWriter, k *call, r reply, out *outcome) {
	c.writeHead(w, r, out)
	flush(w)
	tick := time.NewTicker(c.cfg.SlowByte)
	defer tick.Stop()
	for i := range r.body {
		select {
		case <-tick.C:
		case <-k.ctx.Done():
			return
		}
		if _, err := w.Write(r.body[i : i+1]); err != nil {
			return
		}
		flush(w)
	}
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() } // a recorder need not flush

// withoutID takes out what the caller would know its instance, its job or its login by.
func (r reply) withoutID() reply {
	var fields map[string]json.RawMessage
	if json.Unmarshal(r.body, &fields) == nil {
		delete(fields, "id")
		delete(fields, "job_id")
		delete(fields, "order_id")
		r.body, _ = json.Marshal(fields)
	}
	r.header = maps.Clone(r.header)
	delete(r.header, "X-Subject-Token")
	return r
}

// drop resets the connection, so that the caller sees neither an answer nor a proper end.
func drop(w http.ResponseWriter) { hangUp(w, true) }

// hangUp closes the connection under the caller's request. Where there is no connection to take over it aborts the handler, to
// the same effect.
func hangUp(w http.ResponseWriter, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if secure, ok := conn.(*tls.Conn); ok { // which would say goodbye
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
