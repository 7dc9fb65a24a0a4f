package dds

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"ddsworker/internal/provision"
)

const (
	redacted   = "[redacted]"
	maxMessage = 500 // characters of a message
	maxExcerpt = 200 // characters of a body that could not be read

	// maxScrubbed bounds how much of the cloud's words is looked at, in bytes.
	maxScrubbed = 16 << 10

	// worthHiding is how many bytes of a longer secret count as the secret:
	// services show the beginning of a token.
	worthHiding = 16

	// worthDecoding is how short a secret may be to be looked for in what can be
	// decoded, in bytes: a shorter one would be found in every second id.
	worthDecoding = 4
)

// secrets are what must not be shown of a call, as they are looked for: without
// escapes and in small letters.
type secrets []string

// newSecrets leaves out values that are empty.
func newSecrets(values ...string) (s secrets) {
	for _, value := range values {
		// One that is escaped too often is redacted with every text that holds it.
		if plain, _ := unescape(value); plain != "" {
			s = append(s, lower(plain))
		}
	}
	return s
}

// tokenSecrets keeps what is to be hidden of the tokens that are in use: a token is
// long, and the same for all calls of its project.
type tokenSecrets struct{ of sync.Map } // token to secrets

// maxTokens is how many tokens are remembered: a few for each project that is served.
const maxTokens = 64

// with are the secrets of a call with that token and password.
func (k *tokenSecrets) with(token, password string) secrets {
	known, ok := k.of.Load(token)
	if !ok {
		n := 0
		k.of.Range(func(any, any) bool { n++; return n < maxTokens })
		if n >= maxTokens {
			k.of.Clear() // those that are in use come back
		}
		known, _ = k.of.LoadOrStore(token, newSecrets(token))
	}
	s := known.(secrets)
	if password == "" {
		return s
	}
	return slices.Concat(s, newSecrets(password))
}

// id returns an id that the cloud gave. It is false if that is none by its shape
// or holds a secret: none must travel as an id. Letters are of one case: those
// of tokens and passwords are of both.
func (s secrets) id(t text) (string, bool) {
	id := string(t)
	return id, id == "" || isSegment(id) && (lower(id) == id || strings.ToUpper(id) == id) && s.scrub(id, false) == id
}

// text makes a field of an answer fit to be kept.
func (s secrets) text(t text) string {
	if shown := s.scrub(string(t), false); shown != string(t) {
		return printable(shown)
	}
	return string(t)
}

// words makes what an answer says about an instance or job fit to be kept. It may
// repeat the create call, whose password is not known any more, so words that
// speak of a secret are hidden whole.
func (s secrets) words(t text) string {
	const shortest = 12 // shorter words have no room for a password and its name
	if len(t) < shortest {
		return s.text(t)
	}
	if isTelltale(string(t[:min(len(t), maxScrubbed)])) {
		return redacted
	}
	return s.clean(string(t))
}

// isTelltale tells whether words may give away a secret that nobody knows, plain
// or encoded.
func isTelltale(words string) bool {
	plain, ok := unescape(words)
	if !ok || provision.IsTelltale(plain) {
		return true
	}
	return plain != encoding{least: worthDecoding, tells: func(decoded []byte) bool {
		// It may begin in the midst of something: its words count, not its shape.
		return provision.IsTelltale("…" + string(decoded))
	}}.hide(plain)
}

// clean makes words fit to be shown and stored: valid UTF-8 without control
// characters, at most 500 characters, and without any of the secrets.
func (s secrets) clean(words string) string {
	return cut(oneLine(s.scrub(words, false)), maxMessage)
}

func oneLine(s string) string { return strings.Join(strings.Fields(printable(s)), " ") }

// printable replaces what is no valid UTF-8, and control characters by spaces.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// cut shortens s to at most limit characters.
func cut(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}

// scrub replaces every occurrence of a secret, however it is escaped or encoded
// and in letters of either case: services repeat requests in their answers. Where
// the text was cut off, its end may be the beginning of a secret. A text with a
// secret comes back without escapes, and one that is escaped beyond measure not
// at all.
func (s secrets) scrub(text string, cutOff bool) string {
	if len(text) > maxScrubbed {
		text, cutOff = text[:maxScrubbed], true
	}
	if clean, found := s.hide(text, cutOff); found {
		return clean
	}
	return text
}

// hide is scrub for a text of any length. It is false if there is no secret.
func (s secrets) hide(text string, cutOff bool) (clean string, found bool) {
	shortest, least, leastDecoded := s.shortest(), 0, 0
	if cutOff {
		text = halfEscape.ReplaceAllString(text, "")
		shortest, least, leastDecoded = worthDecoding, 1, worthDecoding
	} else if len(text) < shortest {
		return "", false
	}
	text, ok := unescape(text)
	if !ok {
		return redacted, true
	}
	clean = text
	small := lower(text)
	for _, secret := range s {
		if least > 0 || strings.Contains(small, head(secret)) {
			clean = hidePlain(clean, secret, least)
			small = lower(clean)
		}
	}
	clean = encoding{least: max(shortest, worthDecoding), tells: func(decoded []byte) bool { return s.in(decoded, leastDecoded) }}.hide(clean)
	return clean, clean != text
}

// shortest is how many bytes hold a secret at least: neither an escape nor an
// encoding makes it shorter.
func (s secrets) shortest() int {
	least := worthHiding
	for _, secret := range s {
		least = min(least, len(secret))
	}
	return least
}

// in tells whether what was decoded holds a secret, or has at least so many bytes
// of one at its end; 0: that does not count. It may change decoded.
func (s secrets) in(decoded []byte, least int) bool {
	if isEscaped(string(decoded)) {
		plain, ok := unescape(string(decoded))
		if !ok {
			return true
		}
		decoded = []byte(plain)
	}
	for i, c := range decoded {
		if isCapital(c) {
			decoded[i] += 'a' - 'A'
		}
	}
	return slices.ContainsFunc(s, func(secret string) bool {
		return len(secret) >= worthDecoding && (bytes.Contains(decoded, []byte(head(secret))) || least > 0 && begun(string(decoded), secret, least) > 0)
	})
}

// head is what counts as the secret.
func head(secret string) string { return secret[:min(len(secret), worthHiding)] }

// begun is how many bytes of the secret's head stand at the end of text, in small
// letters: 0 if they are fewer than least, or least is 0.
func begun(text, secret string, least int) int {
	for n := len(head(secret)) - 1; least > 0 && n >= least; n-- {
		if strings.HasSuffix(text, secret[:n]) {
			return n
		}
	}
	return 0
}

// hidePlain replaces the secret in text, and what is its beginning for at least
// 16 bytes; at the end of the text for least bytes, if that is not 0.
func hidePlain(text, secret string, least int) string {
	head := head(secret)
	var b strings.Builder
	rest := lower(text)
	for {
		at := strings.Index(rest, head)
		if at < 0 {
			break
		}
		b.WriteString(text[:at] + redacted)
		n := len(head)
		for rest = rest[at:]; n < len(secret) && n < len(rest) && rest[n] == secret[n]; n++ {
		}
		text, rest = text[at+n:], rest[n:]
	}
	if n := begun(rest, secret, least); n > 0 {
		text = text[:len(text)-n] + redacted
	}
	return b.String() + text
}

// lower makes ASCII letters small and leaves every byte in its place.
func lower(s string) string {
	first := 0
	for first < len(s) && !isCapital(s[first]) {
		first++
	}
	if first == len(s) {
		return s
	}
	b := []byte(s)
	for i, c := range b[first:] {
		if isCapital(c) {
			b[first+i] += 'a' - 'A'
		}
	}
	return string(b)
}

func isCapital(c byte) bool { return 'A' <= c && c <= 'Z' }
