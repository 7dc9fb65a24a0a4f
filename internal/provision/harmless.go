package provision

import (
	"strings"
	"unicode/utf8"
)

// IsHarmless tells whether RedactBody would change nothing of an object, given as valid
// JSON, but the form in which it is written. Almost all that the cloud lists is so, which
// reading it once shows. It may be false where nothing would be changed.
func IsHarmless(object string) bool {
	if object == "" || object[0] != '{' || strings.IndexByte(object, '\\') >= 0 || !utf8.ValidString(object) {
		return false
	}
	depth := 0
	for at := 0; at < len(object); at++ {
		switch c := object[at]; {
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		case c == '"': // nothing is escaped, so the next one ends it
			text := object[at+1:]
			text = text[:strings.IndexByte(text, '"')]
			at += len(text) + 1
			if isMember := isFollowedBy(object[at+1:], ':'); isMember && isSecretName(text) {
				return false
			} else if !(isMember && isPlainKey(text)) && IsTelltale(text) {
				return false
			}
		case c == '-' || '0' <= c && c <= '9':
			end := at + 1
			for end < len(object) && strings.IndexByte(",]} \t\r\n", object[end]) < 0 {
				end++
			}
			if !isMeasurable(object[at:end]) {
				return false
			}
			at = end - 1
		}
	}
	return true
}

// isFollowedBy tells whether c is what comes next in JSON.
func isFollowedBy(rest string, c byte) bool {
	for i := range len(rest) {
		switch rest[i] {
		case ' ', '\t', '\r', '\n':
		default:
			return rest[i] == c
		}
	}
	return false
}
