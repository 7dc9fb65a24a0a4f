package storetest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"ddsworker/internal/provision"
)

// LearnBuilds implements provision.BuildStore.
func (m *Memory) LearnBuilds(_ context.Context, projects []string, seen []provision.BuildSpan) (all []provision.BuildSpan, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, spans := range m.builds {
		fade(spans)
	}
	for _, s := range seen {
		if m.builds[s.Kind] == nil {
			m.builds[s.Kind] = map[int]provision.BuildSpan{}
		}
		known := m.builds[s.Kind][s.Span]
		s.Ended, s.Exposed = s.Ended+known.Ended, s.Exposed+known.Exposed
		m.builds[s.Kind][s.Span] = s
	}
	for kind, spans := range m.builds {
		for _, s := range spans {
			if slices.Contains(projects, kind.ProjectID) {
				all = append(all, s)
			}
		}
	}
	return all, nil
}

// fade halves what is known once it is enough, so that what is new counts.
func fade(spans map[int]provision.BuildSpan) {
	ended := 0.0
	for _, s := range spans {
		ended += s.Ended
	}
	for n, s := range spans {
		if ended > provision.RememberedBuilds {
			s.Ended, s.Exposed = s.Ended/2, s.Exposed/2
			spans[n] = s
		}
	}
}

// flavorOf are the spec codes of a spec.
func flavorOf(spec []byte) string {
	var s struct {
		Flavor []struct {
			Code string `json:"spec_code"`
		} `json:"flavor"`
	}
	if json.Unmarshal(spec, &s) != nil {
		return ""
	}
	codes := make([]string, len(s.Flavor))
	for n, f := range s.Flavor {
		codes[n] = f.Code
	}
	return strings.Join(codes, ",")
}
