package provision

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// canary is a valid password that must never be printed.
const canary = "C4nary~Pass-word"

func example(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// edited returns an example with some values changed. An edit is "path=json";
// nothing after the sign deletes.
func edited(t testing.TB, name string, edits ...string) []byte {
	t.Helper()
	var root any
	if err := json.Unmarshal(example(t, name), &root); err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		path, value, ok := strings.Cut(edit, "=")
		if !ok {
			t.Fatalf("edit %q has no =", edit)
		}
		root = assign(t, root, strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }), value)
	}
	body, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func assign(t testing.TB, at any, path []string, value string) any {
	t.Helper()
	if len(path) == 0 {
		if !json.Valid([]byte(value)) {
			t.Fatalf("%q is not JSON", value)
		}
		return json.RawMessage(value)
	}
	switch at := at.(type) {
	case map[string]any:
		if value == "" && len(path) == 1 {
			delete(at, path[0])
		} else {
			at[path[0]] = assign(t, at[path[0]], path[1:], value)
		}
		return at
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil {
			t.Fatal(err)
		}
		if i == len(at) {
			at = append(at, nil)
		}
		if value == "" && len(path) == 1 {
			return slices.Delete(at, i, i+1)
		}
		at[i] = assign(t, at[i], path[1:], value)
		return at
	case nil:
		return assign(t, map[string]any{}, path, value)
	}
	t.Fatalf("no %v in %v", path, at)
	return nil
}

// ruleCase is a body, and the paths that must be refused in it: no more, no
// fewer.
type ruleCase struct {
	dialect Dialect
	example string
	edits   []string
	refused string // paths with spaces between; empty if accepted
}

func checkRules(t *testing.T, cases []ruleCase) {
	t.Helper()
	for _, test := range cases {
		name := fmt.Sprintf("%s %s %s", cmp.Or(string(test.dialect), "union"), test.example, strings.Join(test.edits, " "))
		t.Run(name, func(t *testing.T) {
			_, err := Rules{Dialect: test.dialect}.Parse(edited(t, test.example, test.edits...))
			want := strings.Fields(test.refused)
			slices.Sort(want)
			if got := paths(err); !slices.Equal(got, want) {
				t.Errorf("refused %q, want %q\n%v", got, want, err)
			}
		})
	}
}

// paths returns the sorted paths that err refuses.
func paths(err error) []string {
	var all []string
	found, _ := errors.AsType[Violations](err)
	for _, v := range found {
		all = append(all, v.Path)
	}
	slices.Sort(all)
	return all
}

func TestDocumentedExamplesAreAccepted(t *testing.T) {
	for name, dialects := range map[string][]Dialect{
		"cluster":    {DialectUnion, DialectHuawei2020, DialectHuawei, DialectFlexibleEngine},
		"enhanced":   {DialectUnion, DialectHuawei2020},
		"replicaset": {DialectUnion, DialectHuawei, DialectOTC},
		"single":     {DialectUnion, DialectHuawei2020, DialectHuawei, DialectOTC, DialectFlexibleEngine},
	} {
		for _, dialect := range dialects {
			if _, err := (Rules{Dialect: dialect}).Parse(example(t, name)); err != nil {
				t.Errorf("%s in dialect %q: %v", name, dialect, err)
			}
		}
	}
}

func TestParseTakesTheBodyApart(t *testing.T) {
	spec, err := Rules{}.Parse(edited(t, "single", `charge_info={"charge_mode":"prePaid","period_type":"month","period_num":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if spec.Name != "test-single" || spec.Region != "aaa" || spec.Mode != "Single" || !spec.Prepaid ||
		spec.Password.Reveal() != "Test@123" {
		t.Errorf("got %+v", spec)
	}
	if bytes.Contains(spec.JSON, []byte("Test@123")) || bytes.Contains(spec.JSON, []byte("password")) {
		t.Errorf("JSON still has the password: %s", spec.JSON)
	}
	spec, err = Rules{}.Parse(edited(t, "single", `password=`))
	if err != nil || !spec.Password.IsZero() || spec.Prepaid {
		t.Errorf("without a password: %+v, %v", spec, err)
	}
}

func TestCanonicalForm(t *testing.T) {
	spec, err := Rules{AcceptUnknownFields: true}.Parse([]byte(strings.Replace(string(example(t, "single")), "{",
		`{ "zeta": [ 1.50, -2E+3, true, null, {"b":"\u00e9\/<\u000a\"\\", "a":"\ud83d\ude00"} ], `, 1)))
	if err != nil {
		t.Fatal(err)
	}
	want := `"zeta":[1.50,-2E+3,true,null,{"a":"😀","b":"é/<\u000a\"\\"}]}`
	if !strings.HasSuffix(string(spec.JSON), want) || !strings.HasPrefix(string(spec.JSON), `{"availability_zone":"bbb","backup_strategy":{"keep_days":"8",`) {
		t.Errorf("got %s", spec.JSON)
	}
}

func TestFingerprint(t *testing.T) {
	print := func(project string, body []byte) [32]byte {
		t.Helper()
		spec, err := Rules{}.Parse(body)
		if err != nil {
			t.Fatal(err)
		}
		return spec.Fingerprint(project)
	}
	of := print("p1", example(t, "cluster"))
	for name, body := range map[string][]byte{
		"order and white space":  edited(t, "cluster"),
		"another password":       edited(t, "cluster", `password="Other-Pass1"`),
		"no password":            edited(t, "cluster", `password=`),
		"a sealed password":      edited(t, "cluster", `password=`, `sealed_password="x"`),
		"another spelling of id": bytes.Replace(example(t, "cluster"), []byte("test-cluster"), []byte(`test\u002dcluster`), 1),
	} {
		if print("p1", body) != of {
			t.Errorf("%s changes the fingerprint", name)
		}
	}
	for name, other := range map[string][32]byte{
		"project": print("p2", example(t, "cluster")),
		"name":    print("p1", edited(t, "cluster", `name="test-cluster2"`)),
		"size":    print("p1", edited(t, "cluster", `flavor[1].size=30`)),
	} {
		if other == of {
			t.Errorf("another %s does not change the fingerprint", name)
		}
	}
}

func TestAllBrokenRulesAtOnce(t *testing.T) {
	_, err := Rules{}.Parse(edited(t, "cluster",
		`name="1"`, `datastore.version="9"`, `region=`, `vpc_id="x"`, `port=80`, `password="short"`, `mode=7`,
		`flavor[0].num=1`, `flavor[1].size=25`, `flavor[1].spec_code=`, `flavor[2].num="two"`, `flavr=[]`,
		`backup_strategy.start_time="08:15-10:15"`, `tags=["x",{"key":"","value":7}]`, `charge_info=true`))
	want := strings.Fields(`backup_strategy.start_time charge_info datastore.version flavor[0].num flavor[1].size
		flavor[1].spec_code flavor[2].num flavr mode name password port region tags[0] tags[1].key tags[1].value vpc_id`)
	if got := paths(err); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	for _, line := range []string{
		"the request breaks 17 rules:",
		"\n  flavor[1].size: given 25; allowed: 10–2000 in steps of 10 (GB)",
		"\n  region: given absent; allowed: a region id",
		"\n  flavr: given []; allowed: no such field; did you mean flavor?",
		"\n  password: given [redacted]; allowed: 8–32 characters",
	} {
		if !strings.Contains(err.Error(), line) {
			t.Errorf("%q is missing in\n%v", line, err)
		}
	}
}

func TestManyBrokenRulesAreCounted(t *testing.T) {
	body := []byte("{")
	for i := range 5000 {
		body = fmt.Appendf(body, `"x%d":1,`, i)
	}
	_, err := Rules{}.Parse(append(body, `"y":1}`...))
	found, _ := errors.AsType[Violations](err)
	if len(found) != maxViolations+1 {
		t.Fatalf("%d violations", len(found))
	}
	// 5001 unknown fields and 9 required ones.
	if last := found[maxViolations]; last.Given != "4910 more broken rules" {
		t.Errorf("last is %+v", last)
	}
}

func TestViolationsNeverShowAPassword(t *testing.T) {
	quoted := strconv.Quote(canary)
	bodies := map[string]string{
		"bare string":       quoted,
		"list":              `["password",` + quoted + `]`,
		"duplicate":         `{"password":` + quoted + `,"password":` + quoted + `}`,
		"wrong type":        `{"password":[` + quoted + `]}`,
		"misspelt":          `{"pasword":` + quoted + `,"Passwort":` + quoted + `}`,
		"other names":       `{"adminPassword":` + quoted + `,"db_pwd":` + quoted + `,"Token":` + quoted + `}`,
		"inside another":    `{"datastore":[{"type":{"Secret":` + quoted + `}}]}`,
		"in a second place": `{"password":` + quoted + `,"name":"-` + canary + `"}`,
		"as a key":          `{"password":` + quoted + `,` + quoted + `:1}`,
		"before a NUL":      `{"password":"` + canary + `\u0000"}`,
		"in malformed JSON": `{"password":` + quoted + `,}`,
	}
	for name, body := range bodies {
		for _, rules := range []Rules{{}, {AcceptUnknownFields: true}} {
			_, err := rules.Parse([]byte(body))
			if err == nil {
				t.Errorf("%s is accepted", name)
			}
			text, _ := json.Marshal(err)
			shown := fmt.Sprintf("%v %+v %#v %s %q", err, err, err, text, err)
			if strings.Contains(shown, canary) {
				t.Errorf("%s shows the password: %s", name, shown)
			}
		}
	}
	spec, err := Rules{}.Parse(edited(t, "single", "password="+quoted))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if strings.Contains(fmt.Sprintf(verb, spec), canary) {
			t.Errorf("%s of a spec shows the password", verb)
		}
	}
}

func TestGivenIsShortAndPrintable(t *testing.T) {
	_, err := Rules{}.Parse(edited(t, "single", `name="\u001b[31m\u202e`+strings.Repeat("é", 100)+`"`))
	found, _ := errors.AsType[Violations](err)
	if len(found) != 1 || len([]rune(found[0].Given)) != maxGiven ||
		!strings.HasPrefix(found[0].Given, `"\u001b[31m\u202eé`) || !strings.HasSuffix(found[0].Given, "…") {
		t.Errorf("got %q", found)
	}
}

func TestCreateBody(t *testing.T) {
	body := edited(t, "replicaset", `password="`+canary+`"`)
	spec, err := Rules{}.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	mark, by := Tag{TagRequest, "m\"1"}, Tag{TagInstallation, "i1"}
	sent, err := CreateBody(spec.JSON, spec.Password, mark, by)
	if err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := errors.Join(json.Unmarshal(sent, &got), json.Unmarshal(body, &want)); err != nil {
		t.Fatal(err)
	}
	want["tags"] = append(want["tags"].([]any),
		map[string]any{"key": TagRequest, "value": "m\"1"}, map[string]any{"key": TagInstallation, "value": "i1"})
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("sent %s", sent)
	}

	// Neither password nor tags: nothing is added.
	if plain, err := CreateBody(spec.JSON, Secret{}); err != nil || !bytes.Equal(plain, spec.JSON) {
		t.Errorf("got %s, %v", plain, err)
	}
	// A database may have changed order and white space.
	if again, err := CreateBody([]byte("{ \"b\": 1,\n\"a\": 2 }"), NewSecret("x"), mark); err != nil ||
		string(again) != `{"a":2,"b":1,"password":"x","tags":[{"key":"provision-request","value":"m\"1"}]}` {
		t.Errorf("got %s, %v", again, err)
	}
	for _, broken := range []string{``, `[]`, `{`, `{}{}`, `"x"`, `null`} {
		if _, err := CreateBody([]byte(broken), spec.Password); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", broken, err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	body := example(b, "cluster")
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := (Rules{}).Parse(body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseHostile has as many fields, all unknown, as a body can hold.
func BenchmarkParseHostile(b *testing.B) {
	body := []byte("{")
	for i := 0; len(body) < MaxBody-32; i++ {
		body = fmt.Appendf(body, `"%x":0,`, i)
	}
	body = append(body, `"name":0}`...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Rules{}).Parse(body); err == nil {
			b.Fatal("accepted")
		}
	}
}

func BenchmarkCreateBody(b *testing.B) {
	spec, err := Rules{}.Parse(example(b, "cluster"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := CreateBody(spec.JSON, spec.Password, Tag{TagRequest, "m"}, Tag{TagInstallation, "i"}); err != nil {
			b.Fatal(err)
		}
	}
}
