package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// proxy stands between the workers and one of the parts around them.
type proxy struct {
	name  string
	proxy *toxiproxy.Proxy
}

// newProxy listens on a free port and passes on to upstream.
func newProxy(name, upstream string) (*proxy, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &proxy{name: name, proxy: toxiproxy.NewProxy(server, name, "127.0.0.1:0", upstream)}
	return p, p.open()
}

func (p *proxy) address() string { return p.proxy.Listen }

// cut breaks all connections off and refuses new ones until open is called.
func (p *proxy) cut() { p.proxy.Stop() }

// open lets connections through again. Its port may be in use for a moment, by a
// connection that somebody made from it.
func (p *proxy) open() error {
	late := time.Now().Add(10 * time.Second)
	for {
		err := p.proxy.Start()
		if err == nil || time.Now().After(late) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// redirect makes new connections go elsewhere. The proxy must be cut.
func (p *proxy) redirect(upstream string) {
	p.proxy.Lock()
	defer p.proxy.Unlock()
	p.proxy.Upstream = upstream
}

// toxic makes all connections ill, in both directions or in some, until cure is
// called.
func (p *proxy) toxic(kind string, attributes map[string]int64, directions ...string) (cure func(), err error) {
	if len(directions) == 0 {
		directions = []string{"upstream", "downstream"}
	}
	for _, direction := range directions {
		text, err := json.Marshal(map[string]any{"type": kind, "stream": direction, "attributes": attributes})
		if err == nil {
			_, err = p.proxy.Toxics.AddToxicJson(strings.NewReader(string(text)))
		}
		if err != nil {
			p.proxy.Toxics.ResetToxics(context.Background())
			return nil, fmt.Errorf("make %s ill with %s: %w", p.name, kind, err)
		}
	}
	return func() { p.proxy.Toxics.ResetToxics(context.Background()) }, nil
}

// slow delays what passes, in each direction.
func (p *proxy) slow(d time.Duration) (cure func(), err error) {
	return p.toxic("latency", map[string]int64{"latency": d.Milliseconds(), "jitter": d.Milliseconds() / 2})
}

// silence drops what passes, so that nobody hears of the other side. The cure
// breaks the connections off.
func (p *proxy) silence() (cure func(), err error) {
	return p.toxic("timeout", map[string]int64{"timeout": 0})
}

// trickle lets answers pass byte by byte.
func (p *proxy) trickle(bytesPerSecond int64) (cure func(), err error) {
	return p.toxic("slicer", map[string]int64{"average_size": 1, "size_variation": 0, "delay": 1_000_000 / bytesPerSecond}, "downstream")
}
