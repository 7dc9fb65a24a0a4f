package dds

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
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

// clean makes words fit to be shown and stored: valid UTF-8 without control
// characters, at most 500 characters, and without any of the secrets.
func clean(words string, secrets []string) string {
	return cut(oneLine(scrub(words, secrets, false)), maxMessage)
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
// secret comes back without escapes.
func scrub(text string, secrets []string, cutOff bool) string {
	if len(text) > maxScrubbed {
		text, cutOff = text[:maxScrubbed], true
	}
	searched := text
	if cutOff {
		searched = halfEscape.ReplaceAllString(searched, "")
	}
	searched = unescape(searched)
	clean, least := searched, 0
	if cutOff {
		least = 1
	}
	for _, secret := range secrets {
		if secret = unescape(secret); secret != "" {
			clean = hideEncoded(hide(clean, secret, least), secret, cutOff)
		}
	}
	if clean != searched {
		return clean
	}
	return text
}

// hide replaces the secret in text, and what is its beginning for at least 16
// bytes; at the end of a text that was cut off, for least bytes, if that is not 0.
func hide(text, secret string, least int) string {
	secret = lower(secret)
	head := secret[:min(len(secret), worthHiding)]
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
	for n := len(head) - 1; least > 0 && n >= least; n-- {
		if strings.HasSuffix(rest, head[:n]) {
			text = text[:len(text)-n] + redacted
			break
		}
	}
	return b.String() + text
}

// lower makes ASCII letters small and leaves every byte in its place.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c - 'A' + 'a'
		}
	}
	return string(b)
}

var (
	base64Run = regexp.MustCompile(`[0-9A-Za-z+/_-]{6,}`)
	hexRun    = regexp.MustCompile(`[0-9a-fA-F]{8,}`)
	// Both alphabets of base64 become one.
	standard = strings.NewReplacer("-", "+", "_", "/")
)

// hideEncoded replaces the runs of base64 and hex that hold the secret. What they
// encode may begin anywhere in them.
func hideEncoded(text, secret string, cutOff bool) string {
	if len(secret) < worthDecoding {
		return text
	}
	least := 0
	if cutOff {
		least = worthDecoding
	}
	holds := func(decoded []byte) bool {
		plain := unescape(string(decoded))
		return hide(plain, secret, least) != plain
	}
	text = hexRun.ReplaceAllStringFunc(text, func(run string) string {
		for begin := range 2 {
			if decoded, _ := hex.DecodeString(run[begin:]); holds(decoded) { // of an odd number of digits the last is left out
				return redacted
			}
		}
		return run
	})
	return base64Run.ReplaceAllStringFunc(text, func(run string) string {
		digits := standard.Replace(run)
		for begin := range 4 {
			group := digits[begin:]
			if len(group)%4 == 1 {
				group = group[:len(group)-1] // no byte ends there
			}
			if decoded, err := base64.RawStdEncoding.DecodeString(group); err == nil && holds(decoded) {
				return redacted
			}
		}
		return run
	})
}

var (
	// jsonUnits is a run of \u0041, with as many backslashes as it was quoted often.
	jsonUnits = regexp.MustCompile(`(?:\\+u[0-9a-fA-F]{4})+`)
	jsonUnit  = regexp.MustCompile(`\\+u([0-9a-fA-F]{4})`)
	jsonShort = regexp.MustCompile(`\\+[bfnrt]`)
	percents  = regexp.MustCompile(`%[0-9a-fA-F]{2}`)
	// halfEscape is one that a text ends within.
	halfEscape = regexp.MustCompile(`(?:\\+(?:u[0-9a-fA-F]{0,3})?|%[0-9a-fA-F]?|&#?[0-9a-zA-Z]{0,7})$`)
)

// unescape takes JSON's, HTML's and the URL's escapes out of s, however often
// they were applied. It makes an escaped secret and the secret itself the same.
func unescape(s string) string {
	for strings.ContainsAny(s, `\%&`) {
		before := s
		s = jsonUnits.ReplaceAllStringFunc(s, func(run string) string {
			var units []uint16
			for _, m := range jsonUnit.FindAllStringSubmatch(run, -1) {
				n, _ := strconv.ParseUint(m[1], 16, 16) // four hex digits
				units = append(units, uint16(n))
			}
			return string(utf16.Decode(units))
		})
		s = jsonShort.ReplaceAllStringFunc(s, func(m string) string {
			return map[byte]string{'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t"}[m[len(m)-1]]
		})
		s = percents.ReplaceAllStringFunc(s, func(m string) string {
			n, _ := strconv.ParseUint(m[1:], 16, 8)
			return string([]byte{byte(n)})
		})
		s = html.UnescapeString(s)
		if s == before { // what is left escapes nothing but itself
			break
		}
	}
	return strings.ReplaceAll(s, `\`, "")
}
