package provision

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// secrets are the values of a body that must not be shown, in every form in
// which they may turn up again.
type secrets struct {
	values  []string
	forms   []string // in lower case
	least   int      // bytes of the shortest form
	tooMany bool     // then every text counts as one
}

const (
	maxSecrets = 16 // of a body; they are looked for in all that is shown
	minSecret  = 4  // bytes; a shorter one would blacken texts that only look alike
	minEncoded = 5  // letters of base64, for the same reason
)

// secretsOf finds the values of all fields that are named like a secret, also
// in documents that are strings of the body.
func secretsOf(root *node) secrets {
	var s secrets
	s.collect(root, false)
	for _, value := range s.values {
		quoted, ascii := string(appendString(nil, value)), strconv.QuoteToASCII(value)
		forms := append(inBase64(value), value, quoted[1:len(quoted)-1], ascii[1:len(ascii)-1],
			url.QueryEscape(value), url.PathEscape(value), hex.EncodeToString([]byte(value)))
		for _, form := range forms {
			if form = strings.ToLower(form); !slices.Contains(s.forms, form) {
				s.forms = append(s.forms, form)
				if s.least == 0 || len(form) < s.least {
					s.least = len(form)
				}
			}
		}
	}
	return s
}

// inBase64 returns what value looks like within whatever was encoded as a whole:
// what stands before it decides at which of three places in a group it begins.
// The letters at its ends that its neighbours decide too are left out.
func inBase64(value string) (forms []string) {
	for before := range 3 {
		from, to := (8*before+5)/6, 8*(before+len(value))/6
		if to-from < minEncoded {
			continue
		}
		whole := append(make([]byte, before), value...)
		for _, encoding := range [...]*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			forms = append(forms, encoding.EncodeToString(whole)[from:to])
		}
	}
	return forms
}

func (s *secrets) collect(n *node, secret bool) {
	if s.tooMany {
		return
	}
	for i := range n.members {
		s.collect(&n.members[i].value, secret || isSecretName(n.members[i].key))
	}
	for i := range n.items {
		s.collect(&n.items[i], secret)
	}
	if secret && (n.kind == stringNode || n.kind == numberNode) &&
		len(n.value) >= minSecret && !slices.Contains(s.values, n.value) {
		s.values = append(s.values, n.value)
		s.tooMany = len(s.values) > maxSecrets
	}
	if inner, ok := n.document(); ok {
		s.collect(&inner, secret)
	}
}

// in tells whether text repeats a secret.
func (s secrets) in(text string) bool {
	if s.tooMany || len(s.forms) == 0 {
		return s.tooMany
	}
	lower := strings.ToLower(text)
	return len(lower) >= s.least && slices.ContainsFunc(s.forms, func(form string) bool { return strings.Contains(lower, form) })
}

// hidesKey tells whether a field's name cannot be shown. A plain one may speak
// of secrets, as adminPassword does.
func (s secrets) hidesKey(key string) bool {
	return s.in(key) || !isPlainKey(key) && IsTelltale(key)
}

// document reads the JSON that a string holds. Numbers and literals are no
// documents.
func (n *node) document() (node, bool) {
	text, ok := n.text()
	if !ok || !isBracketed(text) {
		return node{}, false
	}
	inner, _, err := readTree([]byte(text))
	if err != nil {
		return node{}, false
	}
	return *inner, true
}

// IsTelltale tells whether text may give away a secret that nobody knows: it
// speaks of one, or it is a document, whole or broken, maybe encoded.
func IsTelltale(text string) bool {
	const maxEncodings = 4 // within each other; nobody does that without reason
	for range maxEncodings {
		isDocument := isBracketed(text) && (strings.Contains(text, `"`) || json.Valid([]byte(text)))
		if isDocument || hasSecretWord(strings.ToLower(text)) {
			return true
		}
		inner, ok := decodeText(text)
		if !ok {
			return false
		}
		text = inner
	}
	return true
}

func isBracketed(text string) bool {
	text = strings.TrimLeft(text, " \t\r\n\ufeff")
	return text != "" && strings.IndexByte(`{["`, text[0]) >= 0
}

// decodeText undoes a percent-encoding or base64, if that yields text.
func decodeText(text string) (string, bool) {
	if strings.Contains(text, "%") {
		if inner, err := url.QueryUnescape(text); err == nil && inner != text {
			return inner, true
		}
	}
	const shortest = 12 // a shorter document has no room for a password
	trimmed := strings.TrimRight(strings.TrimSpace(text), "=")
	if len(trimmed) < shortest || strings.ContainsFunc(trimmed, isNotBase64) {
		return "", false
	}
	var room [2][128]byte // for almost all texts
	encoded := append(room[0][:0], trimmed...)
	for _, encoding := range [...]*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if inner, err := encoding.AppendDecode(room[1][:0], encoded); err == nil && utf8.Valid(inner) {
			return string(inner), true
		}
	}
	return "", false
}

// isNotBase64 is for what neither alphabet has; line breaks are passed over in both.
func isNotBase64(r rune) bool {
	return !isASCIIAlphanumeric(r) && !strings.ContainsRune("+/-_\r\n", r)
}
