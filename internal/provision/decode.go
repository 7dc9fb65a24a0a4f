package provision

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of a body. What lies beyond could not be stored or read back unchanged.
const (
	// MaxBody is the largest body that is accepted, in bytes.
	MaxBody = 64 << 10

	maxDepth        = 32  // arrays and objects within each other
	maxNumberLength = 64  // characters
	maxExponent     = 300 // Postgres would write 1e300 as 301 digits
)

// nodeKind is the JSON type of a node.
type nodeKind byte

const (
	objectNode nodeKind = iota
	arrayNode
	stringNode
	numberNode
	literalNode // true, false, null
)

// node is one JSON value. Its methods take nil for an absent value.
type node struct {
	kind    nodeKind
	value   string   // a string's content; a number or literal as written
	members []member // of an object, sorted by key
	items   []node   // of an array
}

type member struct {
	key   string
	value node
}

// get returns the member of an object, or nil.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for i := range n.members {
		if n.members[i].key == key {
			return &n.members[i].value
		}
	}
	return nil
}

// text returns the content of a string, and false for anything else.
func (n *node) text() (string, bool) {
	if n == nil || n.kind != stringNode {
		return "", false
	}
	return n.value, true
}

// set replaces or adds the member of an object.
func (n *node) set(key string, value node) {
	i, there := slices.BinarySearchFunc(n.members, key, func(m member, k string) int {
		return strings.Compare(m.key, k)
	})
	if !there {
		n.members = slices.Insert(n.members, i, member{key: key})
	}
	n.members[i].value = value
}

// remove takes the member out of an object.
func (n *node) remove(key string) {
	n.members = slices.DeleteFunc(n.members, func(m member) bool { return m.key == key })
}

// decode reads body and reports every breach of the limits. It returns nil if
// there is no telling what the body says.
func decode(body []byte) (*node, report) {
	refused := func(given, allowed string) (*node, report) {
		return nil, report{found: Violations{{Given: given, Allowed: allowed}}}
	}
	if len(body) > MaxBody {
		return refused(fmt.Sprintf("%d bytes", len(body)), fmt.Sprintf("at most %d bytes", MaxBody))
	}
	if !utf8.Valid(body) {
		return refused("bytes that are not UTF-8, first at "+position(body, validPrefix(body)), "JSON in UTF-8")
	}
	root, found, err := readTree(body)
	if err != nil {
		return refused(err.Error(),
			fmt.Sprintf("one JSON object, nested at most %d deep", maxDepth))
	}
	return root, found
}

// readTree turns one JSON value into nodes, and reports what Postgres or the
// cloud could not take unchanged: duplicate keys, NULs, lone surrogates, numbers
// beyond measure and deep nesting. The error says
// where body is malformed, and quotes nothing of it.
func readTree(body []byte) (*node, report, error) {
	if !json.Valid(body) {
		return nil, report{}, whyMalformed(body)
	}
	// json.Valid has checked the grammar, and bounds the recursion.
	s := scanner{source: string(body), room: make([]member, mostMembers(body))}
	s.open = len(s.room)
	root := s.next()
	return &root, s.report, nil
}

// mostMembers is how many members there may be in body: each has a colon, and at
// least five bytes with its comma.
func mostMembers(body []byte) int { return min(bytes.Count(body, []byte(":")), len(body)/5+1) }

// validPrefix counts the bytes before the first that is not UTF-8.
func validPrefix(body []byte) int {
	for i := 0; ; {
		r, size := utf8.DecodeRune(body[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
}

func whyMalformed(body []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	err := decoder.Decode(new(json.RawMessage))
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return errors.New("more data after the first JSON value, at " + position(body, int(decoder.InputOffset())))
	case errors.As(err, &syntax):
		return errors.New("malformed JSON at " + position(body, int(syntax.Offset)-1))
	case errors.Is(err, io.EOF):
		return errors.New("nothing")
	default:
		return errors.New("JSON that ends too early")
	}
}

// position names an offset in body as people count.
func position(body []byte, offset int) string {
	before := body[:min(max(offset, 0), len(body))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Sprintf("line %d, column %d", line, column)
}

// scanner reads nodes from a source that is known to be valid JSON.
type scanner struct {
	report
	source string
	at     int
	depth  int

	// Members of objects that are read stand at the front of the room, and those of
	// objects that are being read at its end, the last one first.
	room       []member
	done, open int
}

func (s *scanner) next() node {
	s.skipSpace()
	switch c := s.source[s.at]; c {
	case '{':
		return s.object()
	case '[':
		return s.array()
	case '"':
		return node{kind: stringNode, value: s.string()}
	case 't', 'f', 'n':
		return node{kind: literalNode, value: s.word()}
	default:
		return s.number()
	}
}

// begin goes into an object or array.
func (s *scanner) begin() {
	if s.depth++; s.depth == maxDepth+1 {
		s.refuse(&node{kind: literalNode, value: fmt.Sprintf("level %d", s.depth)},
			fmt.Sprintf("arrays and objects nested at most %d deep", maxDepth))
	}
	s.at++
}

func (s *scanner) array() node {
	n := node{kind: arrayNode}
	for s.begin(); !s.skip(']'); s.skip(',') {
		s.enterItem(len(n.items))
		n.items = append(n.items, s.next())
		s.leave()
	}
	s.depth--
	return n
}

func (s *scanner) object() node {
	before := s.open
	for s.begin(); !s.skip('}'); s.skip(',') {
		s.skipSpace()
		key := s.string()
		s.skip(':')
		s.enter(key)
		value := s.next()
		s.leave()
		s.open--
		s.room[s.open] = member{key, value}
	}
	s.depth--
	members := s.room[s.open:before]
	slices.Reverse(members)
	start := s.done
	s.done += copy(s.room[start:], members)
	s.open = before
	return s.sorted(node{kind: objectNode, members: s.room[start:s.done:s.done]})
}

// sorted puts the members of an object in order, which shows the duplicates.
func (s *scanner) sorted(n node) node {
	n.sort()
	for i := 1; i < len(n.members); i++ {
		if n.members[i].key == n.members[i-1].key {
			s.enter(n.members[i].key)
			s.refuse(&n.members[i].value, "each field once: two values are ambiguous")
			s.leave()
		}
	}
	return n
}

func (n *node) sort() {
	for i := 1; i < len(n.members); i++ {
		if n.members[i].key < n.members[i-1].key {
			slices.SortStableFunc(n.members, func(a, b member) int { return strings.Compare(a.key, b.key) })
			return
		}
	}
}

// string reads a string, from quote to quote.
func (s *scanner) string() string {
	start := s.at
	escaped := false
	for s.at++; s.source[s.at] != '"'; s.at++ {
		if s.source[s.at] == '\\' {
			escaped = true
			s.at++
		}
	}
	s.at++
	if raw := s.source[start:s.at]; escaped {
		return s.unescape(raw)
	}
	return s.source[start+1 : s.at-1]
}

// unescape decodes a string with escapes. encoding/json turns lone surrogates
// into U+FFFD without a word, so they are looked for in the raw text.
func (s *scanner) unescape(raw string) string {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		if raw[i] != 'u' {
			continue
		}
		unit := codeUnit(raw[i+1:])
		i += 4
		switch {
		case unit == 0:
			s.refuse(&node{kind: literalNode, value: `\u0000`}, "text without NUL characters")
		case !utf16.IsSurrogate(unit):
		case strings.HasPrefix(raw[i+1:], `\u`) && utf16.DecodeRune(unit, codeUnit(raw[i+3:])) != utf8.RuneError:
			i += 6
		default:
			s.refuse(&node{kind: literalNode, value: fmt.Sprintf(`\u%04x`, unit)}, "surrogates in pairs only")
		}
	}
	var text string
	_ = json.Unmarshal([]byte(raw), &text) // cannot fail: the source is valid
	return strings.ReplaceAll(text, "\x00", string(utf8.RuneError))
}

// codeUnit reads the four hexadecimal digits that text begins with.
func codeUnit(text string) rune {
	unit, _ := strconv.ParseUint(text[:4], 16, 16)
	return rune(unit)
}

func (s *scanner) number() node {
	n := node{kind: numberNode, value: s.word()}
	if !isMeasurable(n.value) {
		s.refuse(&n, fmt.Sprintf("a number of at most %d characters and an exponent of at most %d",
			maxNumberLength, maxExponent))
	}
	return n
}

// isMeasurable tells whether a number is within the limits.
func isMeasurable(number string) bool {
	if e := strings.IndexAny(number, "eE"); e >= 0 {
		exponent, err := strconv.Atoi(number[e+1:])
		if err != nil || max(exponent, -exponent) > maxExponent {
			return false
		}
	}
	return len(number) <= maxNumberLength
}

// word reads a number or literal, up to what ends it.
func (s *scanner) word() string {
	start := s.at
	for s.at < len(s.source) && strings.IndexByte(",]} \t\r\n", s.source[s.at]) < 0 {
		s.at++
	}
	return s.source[start:s.at]
}

func (s *scanner) skipSpace() {
	for s.at < len(s.source) && s.source[s.at] <= ' ' { // outside of strings nothing else is so small
		s.at++
	}
}

// skip passes white space and then mark, and tells whether mark was there.
func (s *scanner) skip(mark byte) bool {
	s.skipSpace()
	if s.source[s.at] != mark {
		return false
	}
	s.at++
	return true
}
