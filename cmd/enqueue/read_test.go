package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ddsworker/internal/provision"
)

// write makes a file and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// quickstart is the code block of the cloud's documentation, comments and all.
func quickstart(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../examples/cluster.jsonc")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(text, "\n", "\n    ")
}

func TestFormats(t *testing.T) {
	sample := quickstart(t)
	plain, err := os.ReadFile("../../examples/cluster.json")
	if err != nil {
		t.Fatal(err)
	}
	var cluster any
	if err := json.Unmarshal(plain, &cluster); err != nil {
		t.Fatal(err)
	}
	one := map[string]any{"a": "1"}
	two := map[string]any{"a": "2"}
	for name, c := range map[string]struct {
		text string
		want []any
	}{
		"JSON":                 {string(plain), []any{cluster}},
		"pasted":               {sample, []any{cluster}},
		"pasted, indented":     {indent(sample), []any{cluster}},
		"pasted, fenced":       {"```\n" + sample + "```\n", []any{cluster}},
		"pasted, all indented": {indent("```json\n" + sample + "```\n"), []any{cluster}},
		"Windows":              {"\uFEFF" + strings.ReplaceAll(sample, "\n", "\r\n"), []any{cluster}},
		"comments":             {"// first\n/* second\n */ {\"a\": \"1\", /* , */ } // last", []any{one}},
		"no comments":          {`{"a": "http://x/*,}*/ // \" ,]"}`, []any{map[string]any{"a": `http://x/*,}*/ // " ,]`}}},
		"list":                 {`[{"a":"1"}, {"a":"2",}, // end` + "\n]", []any{one, two}},
		"one after the other":  {`{"a":"1"}{"a":"2"}`, []any{one, two}},
		"JSON lines":           {"{\"a\":\"1\"}\n{\"a\":\"2\"}\n", []any{one, two}},
		"lists":                {"[{\"a\":\"1\"}]\n[]\n[{\"a\":\"2\"}]", []any{one, two}},
		"YAML":                 {"# comment\na: '1'\n", []any{one}},
		"YAML documents":       {"---\na: '1'\n---\n# nothing here\n---\na: '2'\n...\n", []any{one, two}},
		"YAML list":            {"- a: '1'\n- a: '2'\n", []any{one, two}},
		"YAML in braces":       {"{a: '1'}", []any{one}},
		"YAML merge":           {"- &one {a: '1', b: x}\n- {<<: *one, a: '2'}\n", []any{map[string]any{"a": "1", "b": "x"}, map[string]any{"a": "2", "b": "x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			// What the file is called must not matter.
			for _, file := range []string{"x", "x.json", "x.yaml"} {
				documents, err := readFiles(nil, []string{write(t, file, c.text)})
				if err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				var got []any
				for i, d := range documents {
					var v any
					if err := json.Unmarshal(d.body, &v); err != nil || d.number != i+1 {
						t.Fatalf("%v: %s: %v", d, d.body, err)
					}
					got = append(got, v)
				}
				if !reflect.DeepEqual(got, c.want) {
					t.Errorf("%s: got %v, want %v", file, got, c.want)
				}
			}
		})
	}
}

func TestNumbersStayAsWritten(t *testing.T) {
	documents, err := readFiles(strings.NewReader(`{"a": 1.50, "b": 12345678901234567890, "c": 1e2}`), []string{"-"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(documents[0].body), `{"a":1.50,"b":12345678901234567890,"c":1e2}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestYAMLTraps(t *testing.T) {
	for text, want := range map[string]string{
		"version: 3.4":             `{"version":"3.4"}`,
		"version: 4.0":             `{"version":"4.0"}`,
		"version: '4.0'":           `{"version":"4.0"}`,
		"version: !!str 4.0":       `{"version":"4.0"}`,
		"version: 5":               `{"version":"5"}`,
		"num: 4.0":                 `{"num":4.0}`,
		"size: 20":                 `{"size":20}`,
		"size: 1_000":              `{"size":"1_000"}`,
		"keep_days: 08":            `{"keep_days":"08"}`,
		"keep_days: 010":           `{"keep_days":"010"}`,
		"keep_days: 0x10":          `{"keep_days":"0x10"}`,
		"keep_days: .inf":          `{"keep_days":".inf"}`,
		"ssl_option: 1":            `{"ssl_option":1}`,
		"ssl_option: on":           `{"ssl_option":"on"}`,
		"ssl_option: yes":          `{"ssl_option":"yes"}`,
		"ssl_option: True":         `{"ssl_option":true}`,
		"start_time: 08:15-09:15":  `{"start_time":"08:15-09:15"}`,
		"start_time: 08:15":        `{"start_time":"08:15"}`,
		"at: 2020-01-01":           `{"at":"2020-01-01"}`,
		"on: x":                    `{"on":"x"}`,
		"a: ~\nb:":                 `{"a":null,"b":null}`,
		"a: &x [1, {b: 2}]\nc: *x": `{"a":[1,{"b":2}],"c":[1,{"b":2}]}`,
		"a: 1\na: 2":               `{"a":1,"a":2}`, // the rules refuse it
	} {
		documents, err := parseYAML("x", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := string(documents[0].body); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestYAMLThatCannotBeMeant(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for _, c := range "bcdefghi" {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 9) + "]\n"
	}
	merges := "a: &a {}\n"
	for _, c := range "bcdefghijklmnopqrstuvwxyz" {
		merges += string(c) + ": &" + string(c) + " {<<: [" + strings.Repeat("*"+string(c-1)+",", 9) + "]}\n"
	}
	for name, c := range map[string]struct{ text, complaint string }{
		"aliases":         {bomb, "larger than"},
		"merges":          {merges, "larger than"},
		"cycle":           {"a: &a [*a]", "larger than"},
		"merge of a text": {"a: 1\n<<: x", "line 2: << takes a mapping"},
		"tag":             {"a: 1\npassword: !Secret@1", "line 2: a YAML tag"},
		"unknown anchor":  {"password: *Secret1", "not YAML: unknown anchor '…'"},
		"list as a key":   {"? [1]\n: 2", "line 1: the name of a field must be a text"},
		"indentation":     {"a:\n  b: 1\n c: 2", "document 1: not YAML: line "},
		"a text":          {"just words", "document 1 (line 1): a request is a mapping"},
		"later document":  {"a: 1\n---\n- 7", "document 2 (line 3): a request is a mapping"},
	} {
		_, err := parseYAML("x", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.complaint) || strings.Contains(err.Error(), "Secret") {
			t.Errorf("%s: got %v, want %q and no secret", name, err, c.complaint)
		}
	}
}

func TestJSONMistakesAreLocated(t *testing.T) {
	for text, complaint := range map[string]string{
		"{\n  \"a\": 1 // one\n  \"b\": 2\n}":      "document 1 (line 3), column 3: not JSON: invalid character",
		"{\"a\":1}\n{\"a\":2}\n{\"a\":Secret@1}":   "document 3 (line 3), column 6: not JSON",
		"{\"a\":1}\n{\"password\":\"Secret\\x1\"}": "document 2 (line 2), column 21: not JSON",
		"{\"password\":\"Secret":                   "ends too early",
		"[{\"a\":1},\n\n7]":                        "document 2 (line 3): a request is an object",
		"{\"a\": [1,,]}":                           "document 1 (line 1), column 10: not JSON",
		"{\"a\": [,]}":                             "not JSON",
		"{,}":                                      "not JSON",
		"{} /* no end":                             "not JSON",
	} {
		_, err := parseJSON("x", []byte(text))
		if err == nil || !strings.Contains(err.Error(), complaint) || strings.Contains(err.Error(), "Secret") {
			t.Errorf("%s: got %v, want %q and no secret", text, err, complaint)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	directory := t.TempDir()
	huge := write(t, "huge.json", strings.Repeat(" ", maxFile+1))
	for name, c := range map[string]struct{ file, complaint string }{
		"missing":    {filepath.Join(directory, "none.json"), "none.json: no such file"},
		"directory":  {directory, directory + " is a directory"},
		"huge":       {huge, "huge.json has more than 8388608 bytes"},
		"empty":      {write(t, "empty.json", " \n"), "empty.json is empty"},
		"comment":    {write(t, "comment.json", "// nothing\n"), "comment.json holds no request"},
		"not UTF-8":  {write(t, "latin.json", "{\"a\":\"\xe9\"}"), "latin.json is not UTF-8"},
		"JSON hint":  {write(t, "hint.json", `"a": 1, "b": 2`), "hint.json, document 1 (line 1): a request is an object in braces"},
		"YAML hint":  {write(t, "hint.yaml", "{a: 1\nb: 2}"), "not YAML"},
		"broken one": {write(t, "x", `{"a": 1 "b": 2}`), "column 9: not JSON"},
	} {
		_, err := readFiles(nil, []string{c.file})
		if err == nil || !strings.Contains(err.Error(), c.complaint) {
			t.Errorf("%s: got %v, want %q", name, err, c.complaint)
		}
	}
	_, err := readFiles(strings.NewReader("{}"), []string{"-", "-", huge})
	if err == nil || !strings.Contains(err.Error(), "once only") || !strings.Contains(err.Error(), "huge.json") {
		t.Errorf("not all problems are told: %v", err)
	}
}

func TestExamplesKeepTheRules(t *testing.T) {
	for file, names := range map[string][]string{
		"cluster.json":          {"test-cluster"},
		"cluster.jsonc":         {"test-cluster"},
		"enhanced-cluster.json": {"test-enhanced"},
		"replica-set.json":      {"test-replica"},
		"single-node.json":      {"test-single"},
		"two-requests.yaml":     {"test-yaml-replica", "test-yaml-single"},
	} {
		documents, err := readFiles(nil, []string{filepath.Join("../../examples", file)})
		if err != nil {
			t.Error(err)
		}
		var got []string
		for _, d := range documents {
			spec, err := provision.Rules{}.Parse(d.body)
			if err != nil {
				t.Errorf("%v: %v", d, err)
			}
			got = append(got, spec.Name)
		}
		if !reflect.DeepEqual(got, names) {
			t.Errorf("%s: got %v, want %v", file, got, names)
		}
	}
}
