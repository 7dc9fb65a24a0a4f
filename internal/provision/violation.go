package provision

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Violation is one broken rule of a request's body.
type Violation struct {
	Path    string `json:"path"`    // place in the body, like flavor[1].size; "" is the body itself
	Given   string `json:"given"`   // JSON text cut to 80 characters, "absent" or "[redacted]"
	Allowed string `json:"allowed"` // what would have been right
}

// Violations are all the rules that a body breaks, at most 101: a hundred, and
// one that counts the rest.
type Violations []Violation

// Error lists every violation on a line of its own after a head line. It never
// holds a password.
func (v Violations) Error() string {
	var b strings.Builder
	b.WriteString("the request breaks ")
	if len(v) == 1 {
		b.WriteString("1 rule:")
	} else {
		fmt.Fprintf(&b, "%d rules:", len(v))
	}
	for _, one := range v {
		path := one.Path
		if path == "" {
			path = "the body"
		}
		fmt.Fprintf(&b, "\n  %s: given %s; allowed: %s", path, one.Given, one.Allowed)
	}
	return b.String()
}

const (
	maxViolations = 100 // a body of 64 KiB can break thousands; nobody reads those
	maxGiven      = 80  // characters
	maxPath       = 256 // characters
	maxPathKey    = 64  // characters of one key in a path
)

// report collects violations while a walk goes through a body, and knows where
// in the body the walk is.
type report struct {
	trail  []step // down to the present place
	opaque bool   // the values may be secrets, whatever they are called
	found  Violations
	places [][]step // of what was found; conclude writes the paths
	beyond int      // violations past maxViolations
}

// step is a member's key or an item's index.
type step struct {
	key   string
	index int
}

const noIndex = -1

func (r *report) enter(key string)    { r.trail = append(r.trail, step{key, noIndex}) }
func (r *report) enterItem(index int) { r.trail = append(r.trail, step{"", index}) }
func (r *report) leave()              { r.trail = r.trail[:len(r.trail)-1] }

// pathOf writes a place like flavor[1].size.
func pathOf(place []step, known secrets) string {
	var path []byte
	for _, s := range place {
		if s.index == noIndex && known.hidesKey(s.key) {
			return redacted
		}
		switch {
		case s.index != noIndex:
			path = append(strconv.AppendInt(append(path, '['), int64(s.index), 10), ']')
		case !isPlainKey(s.key):
			path = append(strconv.AppendQuoteToASCII(append(path, '['), cutTo(s.key, maxPathKey)), ']')
		case len(path) > 0:
			path = append(append(path, '.'), s.key...)
		default:
			path = append(path, s.key...)
		}
	}
	return string(path)
}

// inSecret tells whether the present place is in a field named like a secret.
func (r *report) inSecret() bool {
	return slices.ContainsFunc(r.trail, func(s step) bool { return s.index == noIndex && isSecretName(s.key) })
}

// refuse reports that n, at the present place, is not what is allowed there. A
// nil n is an absent one.
func (r *report) refuse(n *node, allowed string) {
	if len(r.found) == maxViolations {
		r.beyond++
		return
	}
	given := "absent"
	switch {
	case n == nil:
	case r.opaque || r.inSecret():
		given = redacted
	default:
		shown := n.clone()
		shown.redact(secrets{})
		given = string(shown.append(nil))
	}
	r.found = append(r.found, Violation{Given: given, Allowed: allowed})
	r.places = append(r.places, slices.Clone(r.trail))
}

// conclude returns what was found, ready to be shown: without the known secrets,
// should those stand in a second place, and only then cut to length.
func (r *report) conclude(known secrets) Violations {
	for i, place := range r.places {
		r.found[i].Path = pathOf(place, known)
	}
	for i := range r.found {
		for _, text := range []*string{&r.found[i].Path, &r.found[i].Given} {
			if known.in(*text) {
				*text = redacted
			}
		}
		r.found[i].Path = cutTo(r.found[i].Path, maxPath)
		r.found[i].Given = cutTo(r.found[i].Given, maxGiven)
	}
	if r.beyond > 0 {
		r.found = append(r.found, Violation{
			Given:   fmt.Sprintf("%d more broken rules", r.beyond),
			Allowed: fmt.Sprintf("mend these %d first", maxViolations),
		})
	}
	return r.found
}

// cutTo cuts text to limit characters and makes what a terminal would obey
// visible instead.
func cutTo(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit && !strings.ContainsFunc(text, isUnprintable) {
		return text
	}
	var short []rune
	for _, r := range text {
		if isUnprintable(r) {
			short = append(short, []rune(fmt.Sprintf("\\u%04x", r))...)
		} else {
			short = append(short, r)
		}
		if len(short) > limit {
			return string(append(short[:limit-1], '…'))
		}
	}
	return string(short)
}

func isUnprintable(r rune) bool { return !unicode.IsPrint(r) }

func isPlainKey(key string) bool {
	return key != "" && len(key) <= maxPathKey && !strings.ContainsFunc(key, func(r rune) bool {
		return !isASCIIAlphanumeric(r) && r != '_' && r != '-'
	})
}

func isASCIIAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
