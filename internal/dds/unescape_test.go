package dds

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
)

// long repeats part behind begin, up to the longest text that is looked at.
func long(part, begin string) string {
	return begin + strings.Repeat(part, (maxScrubbed-len(begin))/len(part))
}

func TestEscapesWithinEachOther(t *testing.T) {
	s := newSecrets(passCanary)
	text := passCanary
	for n := 1; n < maxEscapes; n++ {
		text = url.QueryEscape(text)
		if got := s.scrub("x "+text, false); got != "x [redacted]" {
			t.Errorf("escaped %d times: %q", n, got)
		}
	}
	for range 3 {
		text = url.QueryEscape(text)
		if got := s.scrub("x "+text, false); got != redacted {
			t.Errorf("escaped too often: %q", got)
		}
	}
}

// TestEscapesCannotWasteTime: a text that is escaped beyond measure is hidden
// whole, and after a few rounds: it has thousands of escapes, and each that is
// taken out by itself allocates.
func TestEscapesCannotWasteTime(t *testing.T) {
	const most = 500
	s := newSecrets(tokenCanary, passCanary)
	for _, plain := range []string{long("25", "%"), long("amp;", "&"), long("u005c", `\`)} {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(plain[:maxScrubbed*3/4]))
		for _, hostile := range []string{plain, encoded} {
			if got := s.scrub(hostile, false); got != redacted {
				t.Errorf("%.20s gives %.20s", hostile, got)
			}
			if n := testing.AllocsPerRun(1, func() { s.scrub(hostile, false) }); n > most {
				t.Errorf("%.20s: %.0f allocations, want at most %d", hostile, n, most)
			}
			if n := testing.AllocsPerRun(1, func() { s.words(text(hostile)) }); n > most {
				t.Errorf("%.20s as words: %.0f allocations, want at most %d", hostile, n, most)
			}
		}
	}
}
