package provision

import (
	"testing"
	"time"
)

// A call has ended when its lease does, and after a crash somebody looks within
// 15 s: when the lease has ended, and a loop has waited its longest.
func TestTheDefaultsKeepTheirPromises(t *testing.T) {
	p := DefaultPolicy()
	if p.CallTimeout >= p.Lease {
		t.Errorf("a call may take %s and its lease ends after %s", p.CallTimeout, p.Lease)
	}
	if after := p.Lease + idle; after > 15*time.Second {
		t.Errorf("after a crash somebody looks within %s", after)
	}
	if p.Settle() < p.CallTimeout+p.VisibilityWindow {
		t.Errorf("a call settles after %s", p.Settle())
	}
}
