// Package house holds the rules of docs/architecture.md about who may know whom.
package house

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "ddsworker"

// mayImport reads the import table: what a package may know of ours.
func mayImport(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rows, found := strings.Cut(string(text), "may import of ours |\n|---|---|---|\n")
	if !found {
		t.Fatal("docs/architecture.md has no import table")
	}
	rows, _, _ = strings.Cut(rows, "\n\n")
	quoted := regexp.MustCompile("`([^`]+)`")
	names := func(cell string) (all []string) {
		for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
			all = append(all, m[1])
		}
		return all
	}
	table := map[string][]string{}
	for row := range strings.Lines(rows) {
		cells := strings.Split(row, "|")
		for _, name := range names(cells[1]) {
			table[name] = names(cells[3])
		}
	}
	return table
}

// linksFake names who alone may link the simulated cloud, a NATS server or toxiproxy.
func linksFake() []string {
	return []string{"cmd/dev", "cmd/fakecloud", "internal/dds/ddsfake", "internal/localenv", "internal/localenv/envtest",
		"internal/chaos", "internal/chaos/run"}
}

type listed struct {
	ImportPath string
	Doc        string
	Imports    []string
	Deps       []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Doc,Imports,Deps", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportTable(t *testing.T) {
	table := mayImport(t)
	for _, p := range packages(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if name == "" {
			continue // this test
		}
		allowed, known := table[name]
		if !known {
			t.Errorf("%s is not in the import table", name)
			continue
		}
		var imports []string
		for _, i := range p.Imports {
			if ours, ok := strings.CutPrefix(i, module+"/"); ok {
				imports = append(imports, ours)
			}
		}
		slices.Sort(allowed)
		if !slices.Equal(imports, allowed) { // Imports are sorted
			t.Errorf("%s imports %q of ours, and its row in the table says %q", name, imports, allowed)
		}
		delete(table, name)
		if name == "internal/provision" {
			onlyStandard(t, p)
		}
		fake := slices.ContainsFunc(p.Deps, func(d string) bool {
			return strings.HasPrefix(d, "github.com/nats-io/nats-server/") || strings.HasPrefix(d, "github.com/Shopify/toxiproxy/") || d == module+"/internal/dds/ddsfake"
		})
		if fake && !slices.Contains(linksFake(), name) {
			t.Errorf("%s links the simulated cloud, a NATS server or toxiproxy", name)
		}
	}
	for name := range table {
		t.Errorf("the import table has %s, and there is no such package", name)
	}
}

func onlyStandard(t *testing.T, p listed) {
	for _, i := range p.Imports {
		if host, _, _ := strings.Cut(i, "/"); strings.Contains(host, ".") && i != "github.com/cenkalti/backoff/v4" {
			t.Errorf("the domain imports %s", i)
		}
	}
}

func TestPackagesSayWhatTheyPromise(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && p.ImportPath != module {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
