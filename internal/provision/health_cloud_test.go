package provision

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A lost answer is a request's matter, and no answer at all is the cloud's.
func TestReportCloud(t *testing.T) {
	lost := &CloudError{Op: "create instance", Class: ClassLost, Message: "no answer"}
	for name, c := range map[string]struct {
		calls []error
		want  string
	}{
		"one is lost":            {[]error{nil, lost}, ""},
		"many are lost":          {[]error{lost, lost, lost, lost, &CloudError{Class: ClassServer, Op: "list", Message: "HTTP 500"}}, "HTTP 500"},
		"one between is well":    {[]error{lost, lost, lost, lost, nil, lost}, ""},
		"a refusal is an answer": {[]error{lost, lost, lost, lost, lost, &CloudError{Class: ClassBusy}}, ""},
		"it cannot be sent":      {[]error{&CloudError{Class: ClassNotSent, Message: "refused"}}, "refused"},
		"many, and then well":    {[]error{lost, lost, lost, lost, lost, lost, nil}, ""},
	} {
		h := quietHealth()
		for _, err := range c.calls {
			h.reportCloud(err)
		}
		switch p := h.Problems(); {
		case c.want == "" && len(p) > 0:
			t.Errorf("%s: %v, want nothing", name, p)
		case c.want != "" && (len(p) != 1 || p[0].Part != "calls to the cloud" || !strings.Contains(p[0].Error, c.want)):
			t.Errorf("%s: %v, want %q", name, p, c.want)
		}
	}
}

// A part that goes up and down fills no log, and one that stays down is told.
func TestUpAndDownIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		h := NewHealth(slog.New(slog.NewTextHandler(&log, nil)))
		for n := range 100 { // for 20 s
			h.Report("part", errors.New(fmt.Sprint("trouble ", n)))
			time.Sleep(100 * time.Millisecond)
			h.Report("part", nil)
			time.Sleep(100 * time.Millisecond)
		}
		if n := strings.Count(log.String(), "\n"); n != 4 {
			t.Errorf("%d lines, want 4: twice down and up", n)
		}
		log.Reset()
		h.Report("part", errors.New("for good"))
		time.Sleep(quiet)
		h.Report("part", errors.New("for good"))
		if n := strings.Count(log.String(), "for good"); n != 1 {
			t.Errorf("trouble that stays was told %d times", n)
		}
	})
}
