package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// parseJSON reads JSON values, one after the other or in lists, with comments
// and trailing commas.
func parseJSON(file string, text []byte) ([]document, error) {
	text = withoutComments(text)
	var all []document
	decoder := json.NewDecoder(bytes.NewReader(text))
	lines := lineCounter{text: text, line: 1}
	for {
		var value json.RawMessage
		err := decoder.Decode(&value)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, whereJSON(file, len(all)+1, text, err)
		}
		start := int(decoder.InputOffset()) - len(value)
		for offset, item := range items(value) {
			d := document{file: file, number: len(all) + 1, line: lines.at(start + offset)}
			if item[0] != '{' {
				return nil, fmt.Errorf("%v: a request is an object in braces {}", d)
			}
			var body bytes.Buffer
			if err := json.Compact(&body, item); err != nil {
				return nil, whereJSON(file, d.number, text, err)
			}
			d.body = body.Bytes()
			all = append(all, d)
		}
	}
}

// items yields the items of a list with their offsets, or the value itself.
func items(value json.RawMessage) func(yield func(int, json.RawMessage) bool) {
	return func(yield func(int, json.RawMessage) bool) {
		if value[0] != '[' {
			yield(0, value)
			return
		}
		// The value is known to be valid, so nothing here can fail.
		decoder := json.NewDecoder(bytes.NewReader(value))
		_, _ = decoder.Token()
		for decoder.More() {
			var item json.RawMessage
			if decoder.Decode(&item) != nil || !yield(int(decoder.InputOffset())-len(item), item) {
				return
			}
		}
	}
}

// withoutComments returns JSON with comments and trailing commas overwritten by
// spaces, so that every other byte keeps its place.
//
// The usual libraries for this read one value only, and quote the text they
// stumble over, which may be a password.
func withoutComments(text []byte) []byte {
	plain := bytes.Clone(text)
	last := -1 // the last byte that was neither space nor comment
	for i := 0; i < len(plain); i++ {
		switch c := plain[i]; {
		case c == '"':
			i = stringEnd(plain, i)
			last = i
		case c == '/':
			end := commentEnd(plain, i)
			for ; i < end; i++ {
				if plain[i] != '\n' {
					plain[i] = ' '
				}
			}
			if end > 0 {
				i--
			}
		case (c == '}' || c == ']') && isTrailingComma(plain[:last+1]):
			plain[last] = ' '
			last = i
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			last = i
		}
	}
	return plain
}

// stringEnd returns the place of the quote that ends the string beginning at i;
// a string never goes past its line.
func stringEnd(text []byte, i int) int {
	for i++; i < len(text) && text[i] != '"' && text[i] != '\n'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return min(i, len(text)-1)
}

// commentEnd returns where the comment beginning at i ends, or 0 if none does.
func commentEnd(text []byte, i int) int {
	end := -1
	switch rest := text[i:]; {
	case bytes.HasPrefix(rest, []byte("//")):
		if end = bytes.IndexByte(rest, '\n'); end < 0 {
			end = len(rest)
		}
	case bytes.HasPrefix(rest, []byte("/*")):
		if end = bytes.Index(rest[2:], []byte("*/")); end >= 0 {
			end += len("/**/")
		}
	}
	if end < 0 {
		return 0
	}
	return i + end
}

// isTrailingComma reports whether text, which ends before a closing bracket,
// ends with a comma behind a value.
func isTrailingComma(text []byte) bool {
	before, found := bytes.CutSuffix(text, []byte(","))
	before = bytes.TrimRight(before, " \t\r\n")
	return found && len(before) > 0 && !bytes.ContainsRune([]byte("{[,:"), rune(before[len(before)-1]))
}

// whereJSON names the place of a mistake; encoding/json quotes one character of
// the text at most.
func whereJSON(file string, number int, text []byte, err error) error {
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return fmt.Errorf("%v: the JSON ends too early: a bracket or quote is not closed", document{file: file, number: number})
	}
	before := text[:max(0, min(int(syntax.Offset)-1, len(text)))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Errorf("%v, column %d: not JSON: %w", document{file: file, number: number, line: line}, column, err)
}

// lineCounter counts lines of a text up to places that only move forward.
type lineCounter struct {
	text   []byte
	offset int
	line   int
}

func (c *lineCounter) at(offset int) int {
	c.line += bytes.Count(c.text[c.offset:offset], []byte("\n"))
	c.offset = offset
	return c.line
}
