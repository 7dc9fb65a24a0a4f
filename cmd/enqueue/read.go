package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxFile is the most that is read from one file, in bytes.
const maxFile = 8 << 20

// document is one request of a file: a JSON object without comments, and where
// it was found.
type document struct {
	file   string
	number int // in the file, from 1
	line   int // where it begins; 0 if unknown
	yaml   bool
	body   []byte
}

// String reads like "requests.yaml, document 2 (line 31)".
func (d document) String() string {
	if d.line == 0 {
		return fmt.Sprintf("%s, document %d", d.file, d.number)
	}
	return fmt.Sprintf("%s, document %d (line %d)", d.file, d.number, d.line)
}

// readFiles reads the requests of all files, in their order; "-" is stdin. The
// error names every file that has something wrong.
func readFiles(stdin io.Reader, files []string) ([]document, error) {
	var all []document
	var problems []error
	stdinRead := false
	for _, file := range files {
		if file == "-" && stdinRead {
			problems = append(problems, errors.New("standard input can be read once only: give - once"))
			continue
		}
		stdinRead = stdinRead || file == "-"
		documents, err := readFile(stdin, file)
		if err != nil {
			problems = append(problems, err)
		}
		all = append(all, documents...)
	}
	return all, errors.Join(problems...)
}

func readFile(stdin io.Reader, file string) ([]document, error) {
	name := file
	if file == "-" {
		name = "standard input"
	} else {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return nil, fmt.Errorf("%s is a directory; name the files in it, as in %s", file, filepath.Join(file, "*.json"))
		}
		stdin = f
	}
	text, err := readLimited(stdin, name, maxFile)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, fmt.Errorf("%s is empty", name)
	}
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%s is not UTF-8 text; save it as UTF-8", name)
	}
	documents, err := parse(name, strings.ToLower(filepath.Ext(file)), unwrap(text))
	if err == nil && len(documents) == 0 {
		return nil, fmt.Errorf("%s holds no request", name)
	}
	return documents, err
}

func readLimited(r io.Reader, name string, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes; split it", name, limit)
	}
	return text, nil
}

// unwrap takes off what came along when text was saved or copied: a byte order
// mark, and the fences of a code block. Lines stay where they are.
func unwrap(text []byte) []byte {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	fence := []byte("```")
	if first, rest, ok := bytes.Cut(text, []byte("\n")); ok && bytes.HasPrefix(bytes.TrimSpace(first), fence) {
		rest = bytes.TrimSuffix(bytes.TrimSpace(rest), fence)
		text = append([]byte("\n"), rest...)
	}
	return text
}

// parse tells JSON from YAML by what can be read. The file's extension only
// decides which of the two complaints is shown when neither can.
func parse(name, extension string, text []byte) ([]document, error) {
	inJSON, jsonErr := parseJSON(name, text)
	if jsonErr == nil {
		return inJSON, nil
	}
	inYAML, yamlErr := parseYAML(name, text)
	switch {
	case yamlErr == nil:
		return inYAML, nil
	case extension == ".json" || extension == ".jsonc":
		return nil, jsonErr
	case extension == ".yaml" || extension == ".yml" || !looksLikeJSON(text):
		return nil, yamlErr
	}
	return nil, jsonErr
}

func looksLikeJSON(text []byte) bool {
	text = bytes.TrimSpace(withoutComments(text))
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}
