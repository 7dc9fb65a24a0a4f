// Package house holds the rules of docs/architecture.md about who may know whom.
package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "ddsworker"

// mayImport is the import table: what a package may know of ours.
func mayImport() map[string][]string {
	everything := []string{"*"}
	return map[string][]string{
		"internal/provision":            {},
		"internal/tokencache":           {},
		"internal/tokencache/fleettest": {"internal/tokencache"},
		"internal/dds/ddsfake":          {},
		"migrations":                    {},
		"examples":                      {},
		"internal/crash":                {},
		"internal/model":                {},
		"internal/provision/storetest":  {"internal/provision"},
		"internal/localenv":             {},
		"internal/localenv/envtest":     {"internal/localenv"},
		"internal/queue":                {"internal/provision"},
		"internal/seal":                 {"internal/provision"},
		"internal/dds":                  {"internal/provision", "internal/tokencache"},
		"internal/store":                {"internal/provision", "internal/tokencache"},
		"internal/app": {"internal/provision", "internal/tokencache", "migrations", "internal/queue", "internal/seal",
			"internal/dds", "internal/store"},
		"cmd/worker":         {"internal/app", "internal/provision", "internal/queue"},
		"cmd/enqueue":        {"internal/app", "internal/provision", "internal/queue", "internal/seal"},
		"internal/chaos":     everything,
		"internal/chaos/run": everything,
		"cmd/dev":            everything,
		"cmd/fakecloud":      everything,
	}
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
	table := mayImport()
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
		for _, i := range p.Imports {
			ours, ok := strings.CutPrefix(i, module+"/")
			if ok && !slices.Contains(allowed, ours) && !slices.Contains(allowed, "*") {
				t.Errorf("%s may not import %s", name, ours)
			}
		}
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
