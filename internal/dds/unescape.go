package dds

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

var (
	// jsonUnits is a run of \u0041, with as many backslashes as it was quoted often.
	jsonUnits = regexp.MustCompile(`(?:\\+u[0-9a-fA-F]{4})+`)
	jsonUnit  = regexp.MustCompile(`\\+u([0-9a-fA-F]{4})`)
	jsonShort = regexp.MustCompile(`\\+[bfnrt]`)
	percents  = regexp.MustCompile(`%[0-9a-fA-F]{2}`)
	// halfEscape is one that a text ends within.
	halfEscape = regexp.MustCompile(`(?:\\+(?:u[0-9a-fA-F]{0,3})?|%[0-9a-fA-F]?|&#?[0-9a-zA-Z]{0,7})$`)
)

// maxEscapes is how many escapes within each other are taken out.
const maxEscapes = 8

// isEscaped tells whether s has one of the characters that escapes begin with.
func isEscaped(s string) bool {
	return strings.IndexByte(s, '\\') >= 0 || strings.IndexByte(s, '%') >= 0 || strings.IndexByte(s, '&') >= 0
}

// unescape takes JSON's, HTML's and the URL's escapes out of s, however often
// they were applied. It makes an escaped secret and the secret itself the same.
// It is false if they were applied too often for anything but wasting time.
func unescape(s string) (string, bool) {
	for range maxEscapes {
		if !isEscaped(s) {
			return s, true
		}
		before := s
		s = unescapeOnce(s)
		if s == before { // what is left escapes nothing but itself
			return strings.ReplaceAll(s, `\`, ""), true
		}
	}
	return s, false
}

func unescapeOnce(s string) string {
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
	return html.UnescapeString(s)
}
