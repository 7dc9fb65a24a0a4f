package dds

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// The letters of hex, and those of both alphabets of base64.
var (
	hexLetters    = letters("0123456789abcdefABCDEF")
	base64Letters = letters("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
)

func letters(all string) (set [256]bool) {
	for _, c := range []byte(all) {
		set[c] = true
	}
	return set
}

// encoding finds what was encoded in hex or base64.
type encoding struct {
	least int                       // bytes that are worth decoding
	tells func(decoded []byte) bool // tells whether they must not be shown; it may change them
	room  *decodings
}

// decodings is room for what is decoded, so that a run costs no memory of its own.
type decodings struct{ encoded, decoded []byte }

// hide replaces the runs of letters of base64, which those of hex are too, that
// tell.
func (e encoding) hide(text string) string {
	e.room = &decodings{}
	var b strings.Builder
	done := 0
	for at := 0; at < len(text); at++ {
		begin := at
		for at < len(text) && base64Letters[text[at]] {
			at++
		}
		if at-begin > e.least && e.in(text[begin:at]) {
			b.WriteString(text[done:begin] + redacted)
			done = at
		}
	}
	return b.String() + text[done:]
}

// in tells whether the run must be hidden. An id is looked at as hex only, like
// 32 digits and "in02": so many letters of base64 are hardly ever digits of hex
// all but two. Ids are most of what is read.
func (e encoding) in(run string) bool {
	const enough, few = 32, 2
	others, digits := 0, 0
	for i := 0; i <= len(run); i++ {
		if i < len(run) && hexLetters[run[i]] {
			digits++
			continue
		}
		if digits >= 2*e.least && e.inHex(run[i-digits:i]) {
			return true
		}
		if digits = 0; i < len(run) && run[i] != '-' {
			others++
		}
	}
	return (others > few || len(run) < enough) && e.inBase64(run)
}

// inHex: what was encoded may begin at each second digit.
func (e encoding) inHex(digits string) bool {
	e.room.encoded = append(e.room.encoded[:0], digits...)
	for begin := 0; begin < 2 && len(digits)-begin >= 2*e.least; begin++ {
		e.room.decoded, _ = hex.AppendDecode(e.room.decoded[:0], e.room.encoded[begin:]) // of an odd number of digits the last is left out
		if e.tells(e.room.decoded) {
			return true
		}
	}
	return false
}

// inBase64: what was encoded may begin anywhere in a group of four. Both alphabets
// become one.
func (e encoding) inBase64(run string) bool {
	e.room.encoded = append(e.room.encoded[:0], run...)
	for i, c := range e.room.encoded {
		switch c {
		case '-':
			e.room.encoded[i] = '+'
		case '_':
			e.room.encoded[i] = '/'
		}
	}
	for begin := range 4 {
		group := e.room.encoded[begin:]
		if len(group)%4 == 1 {
			group = group[:len(group)-1] // no byte ends there
		}
		var err error
		e.room.decoded, err = base64.RawStdEncoding.AppendDecode(e.room.decoded[:0], group)
		if err == nil && len(e.room.decoded) >= e.least && e.tells(e.room.decoded) {
			return true
		}
	}
	return false
}
