package provision

import (
	"context"
	"testing"
)

// pageOf is a cloud that answers every question with one page.
type pageOf InstancePage

func (p pageOf) ListInstances(context.Context, string, InstanceQuery) (InstancePage, error) {
	return InstancePage(p), nil
}

func TestOnlyAnEmptyAnswerTellsThatAnInstanceIsGone(t *testing.T) {
	for name, page := range map[string]pageOf{
		"counted and not shown": {Total: 1},
		"another one":           {Instances: []Instance{{ID: "other"}}},
		"a page of all":         {Total: 200, Instances: []Instance{{ID: "other"}}},
	} {
		if i, err := instanceByID(t.Context(), page, "p", "i"); i != nil || AsCloudError(err).Class != ClassLost {
			t.Errorf("%s: %v, %v", name, i, err)
		}
	}
	if i, err := instanceByID(t.Context(), pageOf{}, "p", "i"); i != nil || err != nil {
		t.Errorf("an empty page: %v, %v", i, err)
	}
	if i, err := instanceByID(t.Context(), pageOf{Total: 1, Instances: []Instance{{ID: "i"}}}, "p", "i"); err != nil || i.ID != "i" {
		t.Errorf("the instance: %v, %v", i, err)
	}
}
