package provision

import (
	"errors"
	"strings"
	"testing"
)

func TestUnknownFields(t *testing.T) {
	edits := []string{`nmae="x"`, `datastore.engine="x"`, `flavor[0].specCode="x"`, `tags=[{"key":"a","value":"b","valu":1}]`, `zzz=1`}
	_, err := Rules{}.Parse(edited(t, "single", edits...))
	want := map[string]string{
		"nmae":               "no such field; did you mean name?",
		"datastore.engine":   "no such field; there are type, version, storage_engine",
		"flavor[0].specCode": "no such field; did you mean spec_code?",
		"tags[0].valu":       "no such field; did you mean value?",
		"zzz":                "no such field; there are name, datastore, region",
	}
	found, _ := errors.AsType[Violations](err)
	if len(found) != len(want) {
		t.Errorf("got %v", err)
	}
	for _, v := range found {
		if allowed, ok := want[v.Path]; !ok || !strings.HasPrefix(v.Allowed, allowed) {
			t.Errorf("%s: %s", v.Path, v.Allowed)
		}
	}

	spec, err := Rules{AcceptUnknownFields: true}.Parse(edited(t, "single", edits...))
	if err != nil {
		t.Fatal(err)
	}
	for _, kept := range []string{`"nmae":"x"`, `"engine":"x"`, `"specCode":"x"`, `"valu":1`, `"zzz":1`} {
		if !strings.Contains(string(spec.JSON), kept) {
			t.Errorf("%s is lost: %s", kept, spec.JSON)
		}
	}
}

func TestAcceptUnknownFieldsKeepsTheRules(t *testing.T) {
	rules := Rules{Dialect: DialectOTC, AcceptUnknownFields: true}
	for edit, refused := range map[string]string{
		`port=1`:                         "port",
		`charge_info={}`:                 "charge_info",
		`restore_point={}`:               "restore_point",
		`adminPassword="Test@123"`:       "adminPassword",
		`extra={"a":[{"token":"abcd"}]}`: "extra.a[0].token",
	} {
		_, err := rules.Parse(edited(t, "single", edit))
		if got := paths(err); len(got) != 1 || got[0] != refused {
			t.Errorf("%s: %v", edit, err)
		}
	}
}

func TestRestorePointIsRefusedWithItsReason(t *testing.T) {
	for _, rules := range []Rules{{}, {AcceptUnknownFields: true}, {Dialect: DialectHuawei}} {
		_, err := rules.Parse(edited(t, "single", `restore_point={"instance_id":"x","type":"backup","backup_id":"y"}`))
		if got := paths(err); len(got) != 1 || got[0] != "restore_point" || !strings.Contains(err.Error(), "cannot carry the tags") {
			t.Errorf("got %v", err)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"name", "name", 0}, {"nmae", "name", 2}, {"flavr", "flavor", 1},
		{"kitten", "sitting", 3}, {"kitten", "dog", 4}, {"abcdefgh", "ijklmnop", 4}, {strings.Repeat("a", 33), strings.Repeat("a", 33), 4},
	} {
		if got := editDistance(test.a, test.b, 4); got != test.want || editDistance(test.b, test.a, 4) != got {
			t.Errorf("from %q to %q: %d", test.a, test.b, got)
		}
	}
}

func TestParseDialect(t *testing.T) {
	for _, name := range []string{"", "huawei", "otc", "flexibleengine", "huawei-2020"} {
		if d, err := ParseDialect(name); err != nil || string(d) != name {
			t.Errorf("%q: %q, %v", name, d, err)
		}
	}
	_, err := ParseDialect("Huawei")
	if err == nil || !strings.Contains(err.Error(), "huawei, otc, flexibleengine or huawei-2020") {
		t.Errorf("got %v", err)
	}
}
