package dds

import (
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

// scrub replaces every occurrence of a secret, however it is escaped: services
// repeat requests in their answers. Where the text was cut off, its end may be
// the beginning of a secret. A text with a secret comes back without escapes.
func scrub(text string, secrets []string, cutOff bool) string {
	if len(text) > maxScrubbed {
		text, cutOff = text[:maxScrubbed], true
	}
	searched := text
	if cutOff {
		searched = halfEscape.ReplaceAllString(searched, "")
	}
	searched = unescape(searched)
	found := false
	for _, secret := range secrets {
		secret = unescape(secret)
		if secret == "" {
			continue
		}
		clean := hide(searched, secret, cutOff)
		found = found || clean != searched
		searched = clean
	}
	if found {
		return searched
	}
	return text
}

// hide replaces the secret in text, and what is its beginning for at least 16
// bytes, or up to the end of a text that was cut off.
func hide(text, secret string, cutOff bool) string {
	head := secret[:min(len(secret), worthHiding)]
	var b strings.Builder
	for {
		at := strings.Index(text, head)
		if at < 0 {
			break
		}
		b.WriteString(text[:at] + redacted)
		n := len(head)
		for text = text[at:]; n < len(secret) && n < len(text) && text[n] == secret[n]; n++ {
		}
		text = text[n:]
	}
	for n := len(head) - 1; cutOff && n > 0; n-- {
		if strings.HasSuffix(text, head[:n]) {
			text = text[:len(text)-n] + redacted
			break
		}
	}
	return b.String() + text
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
