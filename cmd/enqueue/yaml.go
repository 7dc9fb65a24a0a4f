package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"ddsworker/internal/provision"
)

// parseYAML reads YAML documents, each a request or a list of requests.
func parseYAML(file string, text []byte) ([]document, error) {
	var all []document
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var root yaml.Node
		err := decoder.Decode(&root)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%v: not YAML: %s", document{file: file, number: len(all) + 1}, explainYAML(err))
		}
		for _, n := range yamlItems(&root) {
			d := document{file: file, number: len(all) + 1, line: n.Line, yaml: true}
			var w yamlWriter
			if err := w.value(n, ""); err != nil {
				return nil, fmt.Errorf("%v: %w", d, err)
			}
			if !bytes.HasPrefix(w.json, []byte("{")) {
				return nil, fmt.Errorf("%v: a request is a mapping with fields like name and datastore", d)
			}
			d.body = w.json
			all = append(all, d)
		}
	}
}

// yamlItems returns the requests of a document; one that is empty has none.
func yamlItems(root *yaml.Node) []*yaml.Node {
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	switch {
	case root.Kind == yaml.SequenceNode:
		return root.Content
	case root.ShortTag() == "!!null":
		return nil
	}
	return []*yaml.Node{root}
}

var quotedWord = regexp.MustCompile(`'[^']{2,}'`)

// explainYAML is what the parser says, without the words of the file that it
// quotes: a password that begins with * is an anchor to it.
func explainYAML(err error) string {
	return quotedWord.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "'…'") +
		"; texts with special characters need quotes"
}

// yamlWriter writes YAML nodes as JSON. Numbers keep their spelling: 4.0 is not
// 4, and what JSON would not take for a number (08, 1_000) stays a text.
type yamlWriter struct {
	json  []byte
	steps int // bounds what aliases can multiply
}

func (w *yamlWriter) value(n *yaml.Node, key string) error {
	if w.steps++; w.steps > provision.MaxBody || len(w.json) > provision.MaxBody {
		return fmt.Errorf("the request is larger than %d bytes", provision.MaxBody)
	}
	if err := untagged(n); err != nil {
		return err
	}
	switch n.Kind {
	case yaml.AliasNode:
		return w.value(n.Alias, key)
	case yaml.MappingNode:
		return w.mapping(n)
	case yaml.SequenceNode:
		return w.sequence(n, key)
	}
	w.scalar(n, key)
	return nil
}

func (w *yamlWriter) mapping(n *yaml.Node) error {
	members, err := w.members(n)
	if err != nil {
		return err
	}
	w.json = append(w.json, '{')
	for i, m := range members {
		if i > 0 {
			w.json = append(w.json, ',')
		}
		w.text(m.key)
		w.json = append(w.json, ':')
		if err := w.value(m.value, m.key); err != nil {
			return err
		}
	}
	w.json = append(w.json, '}')
	return nil
}

func (w *yamlWriter) sequence(n *yaml.Node, key string) error {
	w.json = append(w.json, '[')
	for i, item := range n.Content {
		if i > 0 {
			w.json = append(w.json, ',')
		}
		if err := w.value(item, key); err != nil {
			return err
		}
	}
	w.json = append(w.json, ']')
	return nil
}

func (w *yamlWriter) scalar(n *yaml.Node, key string) {
	literal := n.Value
	switch n.ShortTag() {
	case "!!null":
		literal = "null"
	case "!!bool":
		literal = strings.ToLower(literal)
	case "!!int", "!!float":
		// A version looks like a number and is a text.
		if key == "version" || !json.Valid([]byte(literal)) {
			w.text(literal)
			return
		}
	default:
		w.text(literal)
		return
	}
	w.json = append(w.json, literal...)
}

func (w *yamlWriter) text(text string) {
	quoted, _ := json.Marshal(text) // strings cannot fail
	w.json = append(w.json, quoted...)
}

type yamlMember struct {
	key   string
	value *yaml.Node
}

// members returns what a mapping holds, and after it what it merges in with <<.
func (w *yamlWriter) members(n *yaml.Node) ([]yamlMember, error) {
	var own, merged []yamlMember
	for i := 0; i+1 < len(n.Content); i += 2 {
		if w.steps++; w.steps > provision.MaxBody {
			return nil, fmt.Errorf("the request is larger than %d bytes", provision.MaxBody)
		}
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			more, err := w.merge(value)
			if err != nil {
				return nil, err
			}
			merged = append(merged, more...)
			continue
		}
		if err := untagged(key); err != nil {
			return nil, err
		}
		if key.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: the name of a field must be a text", key.Line)
		}
		own = append(own, yamlMember{key.Value, value})
	}
	for _, m := range merged {
		if !slices.ContainsFunc(own, func(o yamlMember) bool { return o.key == m.key }) {
			own = append(own, m)
		}
	}
	return own, nil
}

func (w *yamlWriter) merge(n *yaml.Node) ([]yamlMember, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	sources := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		sources = n.Content
	}
	var all []yamlMember
	for _, source := range sources {
		if source.Kind == yaml.AliasNode {
			source = source.Alias
		}
		if source.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("line %d: << takes a mapping", source.Line)
		}
		members, err := w.members(source)
		if err != nil {
			return nil, err
		}
		all = append(all, members...)
	}
	return all, nil
}

// untagged refuses tags but !!str. A tag is most often a text, perhaps a
// password, that begins with ! and should have been quoted.
func untagged(n *yaml.Node) error {
	if n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != "!!str" {
		return fmt.Errorf("line %d: a YAML tag, which has no meaning here; a text that begins with ! needs quotes", n.Line)
	}
	return nil
}
