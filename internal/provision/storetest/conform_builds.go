package storetest

import (
	"context"

	"ddsworker/internal/provision"
)

// learning: what workers saw of builds adds up, is told of the projects that are
// asked for, and fades once it is enough.
func learning(b *bench) {
	kind := provision.BuildKind{ProjectID: project, Mode: "Single", Flavor: "a,b"}
	span := func(n int, ended, exposed float64) provision.BuildSpan {
		return provision.BuildSpan{Kind: kind, Span: n, Ended: ended, Exposed: exposed}
	}
	learn := func(projects []string, seen ...provision.BuildSpan) map[int]provision.BuildSpan {
		all, err := b.LearnBuilds(context.Background(), projects, seen)
		b.must(err)
		known := map[int]provision.BuildSpan{}
		for _, s := range all {
			if s.Kind != kind {
				b.t.Errorf("the kind %+v is known", s.Kind)
			}
			known[s.Span] = s
		}
		return known
	}
	learn([]string{project}, span(3, 1, 10), span(4, 0.5, 0))
	if known := learn([]string{project}, span(3, 2, 5)); known[3] != span(3, 3, 15) || known[4] != span(4, 0.5, 0) || len(known) != 2 {
		b.t.Errorf("known is %v", known)
	}
	if known := learn([]string{other}); len(known) != 0 {
		b.t.Errorf("of another project %v is known", known)
	}
	learn([]string{project}, span(3, provision.RememberedBuilds, 0))
	if known := learn([]string{project}, span(5, 1, 1)); known[3] != span(3, (provision.RememberedBuilds+3)/2.0, 7.5) || known[4] != span(4, 0.25, 0) {
		b.t.Errorf("after it faded known is %v", known)
	}
}
