package dds

import "encoding/json"

// walker goes through JSON once and hands out what is asked for as it stands, so
// that all the rest costs no more than being passed. It takes what encoding/json
// takes and nothing else.
type walker struct {
	source []byte
	at     int // -1 behind something malformed, where nothing follows
	depth  int
}

// raw is one JSON value as it stands; nil where there is none.
type raw []byte

// text reads a string, a number or a boolean, and anything else as empty.
func (r raw) text() (t text) {
	if len(r) > 0 {
		_ = t.UnmarshalJSON(r) // never fails
	}
	return t
}

// members calls each for every member of an object, with its value next; each goes
// past that, and keeps nothing of key. Anything else is passed.
func (w *walker) members(each func(key []byte)) {
	if !w.enter('{') {
		return
	}
	for first := true; w.more('}', first); first = false {
		name := w.value()
		if len(name) == 0 || name[0] != '"' {
			w.at = -1
			return
		}
		key := []byte(name[1 : len(name)-1])
		if !isPlain(name) {
			var unescaped string
			_ = json.Unmarshal(name, &unescaped) // a string it is
			key = []byte(unescaped)
		}
		w.expect(':')
		each(key)
	}
}

// items calls each for every item of an array, with the item next; each goes past
// that. Anything else is passed.
func (w *walker) items(each func()) {
	if !w.enter('[') {
		return
	}
	for first := true; w.more(']', first); first = false {
		each()
	}
}

// value goes past the next value and returns it.
func (w *walker) value() raw {
	if w.next(); w.at < 0 {
		return nil
	}
	start := w.at
	if w.at = pass(w.source, start, w.depth); w.at < 0 {
		return nil
	}
	return w.source[start:w.at]
}

// next goes to what comes next and returns its first byte; 0 where nothing does.
func (w *walker) next() byte {
	if w.at < 0 {
		return 0
	}
	if w.at = passSpace(w.source, w.at); w.at == len(w.source) {
		return 0
	}
	return w.source[w.at]
}

// ended tells whether nothing is left, and everything was well-formed.
func (w *walker) ended() bool { return w.next() == 0 && w.at == len(w.source) }

func (w *walker) enter(bracket byte) bool {
	if w.next() != bracket {
		w.value()
		return false
	}
	if w.depth++; w.depth > deepest {
		w.at = -1
		return false
	}
	w.at++
	return true
}

// more tells whether a member or item follows, and not the end.
func (w *walker) more(end byte, first bool) bool {
	if w.next() == end {
		w.depth--
		w.at++
		return false
	}
	if !first {
		w.expect(',')
	}
	return w.at >= 0
}

func (w *walker) expect(c byte) {
	if w.next() != c {
		w.at = -1
		return
	}
	w.at++
}

// deepest is how deep arrays and objects may lie within each other, as for
// encoding/json.
const deepest = 10000

// pass returns where the value ends that begins at i, and -1 if it is malformed.
func pass(b []byte, i, depth int) int {
	if i == len(b) {
		return -1
	}
	switch b[i] {
	case '{', '[':
		return passNested(b, i, depth+1)
	case '"':
		return passString(b, i)
	case 't':
		return passWord(b, i, "true")
	case 'f':
		return passWord(b, i, "false")
	case 'n':
		return passWord(b, i, "null")
	}
	return passNumber(b, i)
}

func passNested(b []byte, i, depth int) int {
	isObject, end := b[i] == '{', b[i]+2 // of both brackets in ASCII
	if i = passSpace(b, i+1); depth > deepest {
		return -1
	}
	if i < len(b) && b[i] == end {
		return i + 1
	}
	for {
		if isObject {
			if i = passString(b, i); i < 0 {
				return -1
			}
			if i = passSpace(b, i); i == len(b) || b[i] != ':' {
				return -1
			}
			i = passSpace(b, i+1)
		}
		if i = pass(b, i, depth); i < 0 {
			return -1
		}
		if i = passSpace(b, i); i == len(b) {
			return -1
		}
		switch b[i] {
		case end:
			return i + 1
		case ',':
			i = passSpace(b, i+1)
		default:
			return -1
		}
	}
}

func passString(b []byte, i int) int {
	if i == len(b) || b[i] != '"' {
		return -1
	}
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c == '\\':
			if i++; i == len(b) {
				return -1
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if i++; i == len(b) || !hexLetters[b[i]] {
						return -1
					}
				}
			default:
				return -1
			}
		}
	}
	return -1
}

func passNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	default:
		if i = passDigits(b, i); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i] == '.' {
		if i = passDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return passDigits(b, i)
	}
	return i
}

// passDigits passes at least one digit.
func passDigits(b []byte, i int) int {
	start := i
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

func passWord(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

func passSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}
