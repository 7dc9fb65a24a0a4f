package ddsfake

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Kind names a way in which a call goes wrong. In the names, before and after say whether the call was executed.
type Kind string

// The kinds, dds-api.md §9.5.
const (
	DropBefore        Kind = "drop-before" // connection reset
	DropAfter         Kind = "drop-after"
	TimeoutBefore     Kind = "504-before" // 504 APIGW.0201
	TimeoutAfter      Kind = "504-after"
	BusyBefore        Kind = "busy-before" // 400 DBS.200998
	BusyAfter         Kind = "busy-after"
	ServerErrorBefore Kind = "500-before" // 500 DBS.280005
	ServerErrorAfter  Kind = "500-after"
	TooMany           Kind = "429-service"    // 429 DBS.280443, not executed
	Throttled         Kind = "429-gateway"    // 429 APIGW.0308, not executed
	StateConflict     Kind = "state-conflict" // 403 DBS.201014, not executed
	Forbidden         Kind = "forbidden"      // 403 DBS.280032, not executed
	Denied            Kind = "denied"         // 400 DBS.280015, not executed
	Arrears           Kind = "arrears"        // 403 DBS.280019, not executed
	HTMLBefore        Kind = "html-before"    // 502 and a page of HTML
	HTMLAfter         Kind = "html-after"
	EmptyBefore       Kind = "empty-before" // 503 without a body
	EmptyAfter        Kind = "empty-after"
	Redirect          Kind = "redirect"    // 307 to the same call, not executed
	HangBefore        Kind = "hang-before" // no answer until the caller goes away
	HangAfter         Kind = "hang-after"
	CutShort          Kind = "cut-short"  // executed; the connection breaks within the true answer's body
	CutJSON           Kind = "cut-json"   // executed; half the true answer in a whole HTTP answer
	NoID              Kind = "no-id"      // executed; the true answer without id, job_id and token
	HugeBody          Kind = "huge-body"  // executed; the true status, then Config.HugeBody bytes
	SlowBytes         Kind = "slow-bytes" // executed; the true answer byte by byte
	JobFails          Kind = "job-fails"  // executed and answered truly; the job made by it will fail
)

// Kinds lists them all.
func Kinds() []Kind {
	return []Kind{DropBefore, DropAfter, TimeoutBefore, TimeoutAfter, BusyBefore, BusyAfter, ServerErrorBefore, ServerErrorAfter,
		TooMany, Throttled, StateConflict, Forbidden, Denied, Arrears, HTMLBefore, HTMLAfter, EmptyBefore, EmptyAfter, Redirect,
		HangBefore, HangAfter, CutShort, CutJSON, NoID, HugeBody, SlowBytes, JobFails}
}

const htmlPage = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>\n"

// preset is the answer that a kind stands for.
func preset(kind Kind) Answer {
	a := Answer{Kind: kind}
	switch kind {
	case DropAfter, HangAfter, CutShort, CutJSON, NoID, HugeBody, SlowBytes:
		a.Executed = true
	case JobFails:
		a.Executed, a.JobFails = true, true
	case TimeoutBefore, TimeoutAfter:
		a.Status, a.Code, a.Executed = 504, "APIGW.0201", kind == TimeoutAfter
	case BusyBefore, BusyAfter:
		a.Code, a.Executed = "DBS.200998", kind == BusyAfter
	case ServerErrorBefore, ServerErrorAfter:
		a.Code, a.Executed = "DBS.280005", kind == ServerErrorAfter
	case TooMany:
		a.Code = "DBS.280443"
	case Throttled:
		a.Code = "APIGW.0308"
	case StateConflict:
		a.Code = "DBS.201014"
	case Forbidden:
		a.Code = "DBS.280032"
	case Denied:
		a.Code = "DBS.280015"
	case Arrears:
		a.Code = "DBS.280019"
	case HTMLBefore, HTMLAfter:
		a.Status, a.Body, a.Executed = 502, htmlPage, kind == HTMLAfter
		a.Header = map[string]string{"Content-Type": "text/html"}
	case EmptyBefore, EmptyAfter:
		a.Status, a.Executed = 503, kind == EmptyAfter
	}
	return a
}

// Answer is a scripted answer to one call. The zero Answer is the true one, so that a script can let calls pass.
type Answer struct {
	// Kind is what goes wrong; the other fields add to it or replace its own. "" is nothing.
	Kind Kind
	// Status of the answer; 0 is the documented one of Code, or the true one.
	Status int
	// Code is an error code; body and status follow from it.
	Code string
	// Message replaces the documented text of Code.
	Message string
	// Header is added to the answer.
	Header map[string]string
	// Body replaces the body.
	Body string
	// Executed says that the call happens all the same, whatever its answer says. A call that is answered
	// truly is always executed.
	Executed bool
	// Late is how much later than its arrival the call executes, in real time; its answer does not wait for that.
	Late time.Duration
	// ListLag is how much longer than Config.ListLag the instance that the call makes stays out of the list, in real time.
	ListLag time.Duration
	// Delay is how long the answer takes, in real time.
	Delay time.Duration
	// JobFails makes the job that the call creates fail.
	JobFails bool
}

// truly says that the answer is the one the service really gives.
func (a Answer) truly() bool { return a.Status == 0 && a.Code == "" && a.Body == "" }

func (a Answer) executes() bool {
	switch a.Kind {
	case DropBefore, HangBefore, Redirect:
		return a.Executed
	}
	return a.Executed || a.truly()
}

// whole fills in what the kind stands for.
func (a Answer) whole() Answer {
	w := preset(a.Kind)
	setDefault(&a.Status, w.Status)
	setDefault(&a.Code, w.Code)
	setDefault(&a.Body, w.Body)
	header := maps.Clone(w.Header)
	if header == nil {
		header = a.Header
	} else {
		maps.Copy(header, a.Header)
	}
	a.Header = header
	a.Executed = a.Executed || w.Executed
	a.JobFails = a.JobFails || w.JobFails
	return a
}

// Faults are the chances of each kind for each operation; OpAny holds for operations without an entry of
// their own. At most one fault befalls a call.
type Faults map[Op]map[Kind]float64

func (f Faults) validate() error {
	var errs []error
	for _, op := range slices.Sorted(maps.Keys(f)) {
		if !slices.Contains(FaultOps(), op) {
			errs = append(errs, fmt.Errorf("faults: %q is not one of the operations %v", op, FaultOps()))
		}
		sum := 0.0
		for _, kind := range slices.Sorted(maps.Keys(f[op])) {
			chance := f[op][kind]
			if !slices.Contains(Kinds(), kind) {
				errs = append(errs, fmt.Errorf("faults: %q is not one of the kinds %v", kind, Kinds()))
			}
			if !(chance >= 0 && chance <= 1) {
				errs = append(errs, fmt.Errorf("faults: the chance %v of %s:%s is not between 0 and 1", chance, op, kind))
			}
			sum += chance
		}
		if sum > 1+1e-9 {
			errs = append(errs, fmt.Errorf("faults: the chances of %s add up to %v, more than 1", op, sum))
		}
	}
	return errors.Join(errs...)
}

// faults decides what befalls a call.
type faults struct {
	mu      sync.Mutex
	chance  *rand.Rand
	chances Faults
	scripts map[Op][]Answer
}

func newFaults(seed uint64, chances Faults) *faults {
	return &faults{chance: rand.New(rand.NewPCG(seed, seed)), chances: chances, scripts: map[Op][]Answer{}}
}

// next takes the next scripted answer for the operation, or draws one; false: the call passes.
func (f *faults) next(op Op) (Answer, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, from := range []Op{op, OpAny} {
		if script := f.scripts[from]; len(script) > 0 {
			f.scripts[from] = script[1:]
			return script[0].whole(), true
		}
	}
	chances, ok := f.chances[op]
	if !ok {
		chances = f.chances[OpAny]
	}
	if len(chances) == 0 {
		return Answer{}, false
	}
	at := f.chance.Float64()
	for _, kind := range slices.Sorted(maps.Keys(chances)) { // in a fixed order, for the seed's sake
		if at < chances[kind] {
			return preset(kind), true
		}
		at -= chances[kind]
	}
	return Answer{}, false
}

// happens draws whether something of that chance does.
func (f *faults) happens(chance float64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.chance.Float64() < chance
}

// between draws a duration.
func (f *faults) between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return low + time.Duration(f.chance.Int64N(int64(high-low)+1))
}

// SetFaults replaces all chances. The error names every unknown operation or kind and every impossible chance.
func (c *Cloud) SetFaults(chances Faults) error {
	if err := chances.validate(); err != nil {
		return err
	}
	copied := make(Faults, len(chances))
	for op, kinds := range chances {
		copied[op] = maps.Clone(kinds)
	}
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.chances = copied
	return nil
}

// Script queues answers for the next calls of an operation that get past the gateway; a call takes one. Scripts of the operation
// go before those of OpAny, and both before chance. The error names an unknown operation or kind; then nothing is queued.
func (c *Cloud) Script(op Op, answers ...Answer) error {
	if !slices.Contains(FaultOps(), op) {
		return fmt.Errorf("script: %q is not one of the operations %v", op, FaultOps())
	}
	for _, a := range answers {
		if a.Kind != "" && !slices.Contains(Kinds(), a.Kind) {
			return fmt.Errorf("script: %q is not one of the kinds %v", a.Kind, Kinds())
		}
		if a.Status != 0 && (a.Status < 200 || a.Status > 599) {
			return fmt.Errorf("script: status %d is not between 200 and 599", a.Status)
		}
		if a.Delay < 0 || a.Late < 0 || a.ListLag < 0 {
			return fmt.Errorf("script: delay %v, late %v and list lag %v must not be negative", a.Delay, a.Late, a.ListLag)
		}
	}
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.scripts[op] = append(c.faults.scripts[op], answers...)
	return nil
}

// ClearScripts drops every scripted answer that no call has taken yet.
func (c *Cloud) ClearScripts() {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	clear(c.faults.scripts)
}

// Waiting is how many scripted answers for the operation no call has taken yet.
func (c *Cloud) Waiting(op Op) int {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	return len(c.faults.scripts[op])
}
