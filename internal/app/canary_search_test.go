package app_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// hunt knows the secrets of a test, each with the path that it was sent on, and
// finds them in whatever was written, whole or in part, in all forms in which
// people and programs write a text.
type hunt struct {
	mu      sync.Mutex
	values  map[string]string // by path
	needles map[uint64][]needle
	likely  [1 << 16]bool // by the hash of a needle's head: most places have none
}

// needle is a piece of a secret in one form.
type needle struct {
	text       []byte
	path, form string
}

// pieceLength is how much of a secret counts as a leak, in bytes: 12 to 23 bytes
// of it always hold one of its pieces.
const pieceLength = 12

// password makes a secret that keeps the rules of passwords.
func (h *hunt) password(path string) string {
	value := "aZ7%" + rand.Text()
	h.add(path, value)
	return value
}

// login makes a secret of the kind that is no part of a request, with characters
// that are written in another way nearly everywhere.
func (h *hunt) login(path string) string {
	value := `"\<&/@:%é'` + rand.Text()
	h.add(path, value)
	return value
}

// add makes value a secret that must not be seen from now on.
func (h *hunt) add(path, value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.values == nil {
		h.values, h.needles = map[string]string{}, map[uint64][]needle{}
	}
	h.values[path] = value
	for len(value) >= pieceLength {
		piece := value
		if len(value) >= 2*pieceLength {
			piece = value[:pieceLength]
		}
		value = value[len(piece):]
		for form, text := range forms(piece) {
			if text == piece {
				form = "plain"
			}
			n := needle{[]byte(text), path, form}
			at := head(n.text)
			h.needles[at] = append(h.needles[at], n)
			h.likely[slot(at)] = true
		}
	}
}

// secret is the value that was sent on the path.
func (h *hunt) secret(path string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.values[path]
}

// in returns where a secret is in the text, by its path and form, with what
// stands around it. Letters of either case are the same.
func (h *hunt) in(text []byte) map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := map[string]string{}
	for i := 0; i+8 <= len(text); i++ {
		at := head(text[i:])
		if !h.likely[slot(at)] {
			continue
		}
		for _, n := range h.needles[at] {
			if end := i + len(n.text); end <= len(text) && bytes.EqualFold(text[i:end], n.text) {
				found[n.path+", "+n.form] = string(text[max(0, i-60):min(len(text), end+60)])
			}
		}
	}
	return found
}

// wantNone fails the test for every secret in the text but those of allowed
// paths, and returns the paths of those.
func (h *hunt) wantNone(t *testing.T, place string, text []byte, allowed ...string) (seen []string) {
	t.Helper()
	for leak, around := range h.in(text) {
		path, _, _ := strings.Cut(leak, ",")
		if slices.Contains(allowed, path) {
			seen = append(seen, path)
			continue
		}
		t.Errorf("a secret is in the %s: that of %s: …%q…", place, leak, around)
	}
	slices.Sort(seen)
	return slices.Compact(seen)
}

// head is what a needle is looked up by: its first eight bytes, of any case.
func head(text []byte) uint64 { return binary.LittleEndian.Uint64(text) | 0x2020202020202020 }

func slot(head uint64) uint64 { return head * 0x9e3779b97f4a7c15 >> 48 }

// forms are the ways in which a piece of a text may be written.
func forms(piece string) map[string]string {
	inQuotes := func(s string) string { return s[1 : len(s)-1] }
	asJSON := func(s string) string {
		text, err := json.Marshal(s)
		if err != nil {
			panic(err)
		}
		return inQuotes(string(text))
	}
	out := map[string]string{
		"plain": piece, "JSON": asJSON(piece), "JSON in JSON": asJSON(asJSON(piece)), "units of JSON": eachByte(piece, `\u%04x`, ""),
		"Go": inQuotes(strconv.Quote(piece)), "ASCII": inQuotes(strconv.QuoteToASCII(piece)),
		"query": url.QueryEscape(piece), "path of a URL": url.PathEscape(piece), "percents": eachByte(piece, "%%%02x", ""),
		"HTML": html.EscapeString(piece), "hex": hex.EncodeToString([]byte(piece)),
		"bytes": eachByte(piece, "%d", " "), "bytes of Go": eachByte(piece, "%#x", ", "),
	}
	// What stands before it decides at which of three places in a group of base64
	// it begins; only the letters that it alone decides are looked for.
	for before := range 3 {
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.StdEncoding, "base64 of URLs": base64.URLEncoding} {
			text := encoding.EncodeToString(append(make([]byte, before), piece...))
			out[fmt.Sprintf("%s %d", name, before)] = text[(8*before+5)/6 : 8*(before+len(piece))/6]
		}
	}
	return out
}

func eachByte(text, format, between string) string {
	var all []string
	for _, b := range []byte(text) {
		all = append(all, fmt.Sprintf(format, b))
	}
	return strings.Join(all, between)
}

// TestTheHuntFinds: a secret is found in every form, in the middle of a text,
// whole and in halves, and named by its path; nothing else is found.
func TestTheHuntFinds(t *testing.T) {
	var h hunt
	own, other := h.password("own"), h.login("other")
	quoted, err := json.Marshal(map[string]string{"x": own})
	if err != nil {
		t.Fatal(err)
	}
	for form, text := range map[string]string{
		"plain": own, "swapped case": swapCase(own), "upper case": strings.ToUpper(own), "the first half": own[:len(own)/2+8], "the second half": own[len(own)/2-8:],
		"JSON": string(quoted), "query": url.Values{"x": {own}}.Encode(), "path": url.PathEscape(own), "hex": hex.EncodeToString([]byte(own)),
		"HTML": html.EscapeString(own), "Go": fmt.Sprintf("%#v", own), "bytes": fmt.Sprint([]byte(own)), "bytes of Go": fmt.Sprintf("%#v", []byte(own)),
		"upper hex": fmt.Sprintf("%X", own), "a row of Postgres": `(1,"\\x` + hex.EncodeToString([]byte(own)) + `")`,
	} {
		if found := h.in([]byte("before " + text + " after")); len(found) == 0 {
			t.Errorf("%s: not found in %s", form, text)
		} else if !strings.HasPrefix(strings.Join(keys(found), " "), "own, ") {
			t.Errorf("%s: found %v", form, found)
		}
	}
	for before := range 6 {
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			for _, secret := range []string{own, other} {
				text := encoding.EncodeToString([]byte(strings.Repeat("?", before) + secret + "?>~"))
				if len(h.in([]byte(text))) == 0 {
					t.Errorf("not found behind %d bytes in %s", before, text)
				}
			}
		}
	}
	for form, text := range map[string]string{
		"JSON": string(mustJSON(t, other)), "JSON in JSON": string(mustJSON(t, string(mustJSON(t, other)))), "query": url.QueryEscape(other),
		"a URL": (&url.URL{Scheme: "x", User: url.UserPassword("u", other), Host: "h"}).String(), "HTML": html.EscapeString(other),
	} {
		if found := h.in([]byte(text)); !strings.HasPrefix(strings.Join(keys(found), " "), "other, ") {
			t.Errorf("%s: found %v in %s", form, found, text)
		}
	}
	var apart hunt
	apart.password("a third")
	if found := apart.in([]byte(own + other + string(quoted))); len(found) != 0 {
		t.Errorf("found what was not there: %v", found)
	}
}

// swapCase writes small letters large and large ones small.
func swapCase(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, text)
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func keys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
