package provision

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	long := strings.Repeat("1", 65)
	for name, test := range map[string]struct{ body, path, given string }{
		"empty":               {"", "", "nothing"},
		"white space":         {" \n", "", "nothing"},
		"too large":           {`{"a":"` + strings.Repeat("x", MaxBody) + `"}`, "", "65544 bytes"},
		"not UTF-8":           {"{\n\"é\": \"\xff\"}", "", "bytes that are not UTF-8, first at line 2, column 7"},
		"not JSON":            {`{"a":1,}`, "", "malformed JSON at line 1, column 8"},
		"comment":             {"{\n  \"a\": 1 // one\n}", "", "malformed JSON at line 2, column 10"},
		"cut off":             {`{"a":`, "", "JSON that ends too early"},
		"trailing data":       {`{} {}`, "", "more data after the first JSON value, at line 1, column 3"},
		"byte order mark":     {"\ufeff{}", "", "malformed JSON at line 1, column 1"},
		"nested too deep":     {`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "a" + strings.Repeat("[0]", 31), "level 33"},
		"nested beyond sense": {strings.Repeat("[", 30000), "", "malformed JSON at line 1, column 10001"},
		"duplicate":           {`{"a":{"b":1,"c":0,"\u0062":[2]}}`, "a.b", "[2]"},
		"NUL":                 {`{"a":["x\u0000y"]}`, "a[0]", `\u0000`},
		"NUL in a key":        {`{"a":{"\u0000":1}}`, "a", `\u0000`},
		"high surrogate":      {`{"a":"\ud83d"}`, "a", `\ud83d`},
		"low surrogate":       {`{"a":"\uDE00\ud83d"}`, "a", `\ude00`},
		"two high surrogates": {`{"a":"\ud83d\ud83d\ude00"}`, "a", `\ud83d`},
		"large exponent":      {`{"a":1e400000}`, "a", "1e400000"},
		"small exponent":      {`{"a":1E-400000}`, "a", "1E-400000"},
		"beyond int exponent": {`{"a":1e99999999999999999999}`, "a", "1e99999999999999999999"},
		"long number":         {`{"a":` + long + `}`, "a", long},
		"strange key":         {`{"a b":{"c.d\"":1e999}}`, `["a b"]["c.d\""]`, "1e999"},
	} {
		for _, rules := range []Rules{{}, {AcceptUnknownFields: true}} {
			_, err := rules.Parse([]byte(test.body))
			found, _ := err.(Violations)
			if len(found) == 0 || found[0].Path != test.path || found[0].Given != test.given || found[0].Allowed == "" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestWithinLimits(t *testing.T) {
	for _, value := range []string{
		`1e300`, `-0.0001E-300`, strings.Repeat("9", maxNumberLength), `"\ud83d\ude00 \\u0000 \\ud83d \u00e9"`,
		strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1), `"` + strings.Repeat("x", 60000) + `"`,
	} {
		body := edited(t, "single")
		body = append(body[:len(body)-1], `,"unknown":`+value+`}`...)
		if _, err := (Rules{AcceptUnknownFields: true}).Parse(body); err != nil {
			t.Errorf("%.80s: %v", value, err)
		}
	}
}

func TestTopLevelMustBeAnObject(t *testing.T) {
	for _, body := range []string{`[]`, `null`, `"x"`, `3`, `[{}]`} {
		_, err := Rules{}.Parse([]byte(body))
		found, _ := err.(Violations)
		if len(found) != 1 || found[0].Path != "" || !strings.HasPrefix(found[0].Allowed, "an object") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// FuzzParse looks for panics, for accepted bodies that do not survive the way
// to the cloud, and for passwords in errors.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"cluster", "enhanced", "replicaset", "single"} {
		f.Add(example(f, name), uint8(0))
		f.Add(edited(f, name, `tags=[{"key":"a","value":""}]`, `unknown={"a":[1e3,"\ud83d\ude00"]}`), uint8(5))
	}
	f.Add(edited(f, "cluster", `charge_info={"charge_mode":"prePaid","period_type":"year","period_num":3}`,
		`configurations=[{"type":"shard","configuration_id":"0123456789abcdef0123456789abcdefpr02"}]`), uint8(1))
	for _, broken := range []string{``, `{`, `{}`, `[]`, `"\ud83d"`, `{"a":"\u0000"}`, `{"a":1,"a":2}`, `{"password":1e999}`, `[[[[[]]]]]`, `{}x`} {
		f.Add([]byte(broken), uint8(0))
	}
	for _, body := range hideouts() {
		f.Add([]byte(strings.ReplaceAll(body, canary, "x")), uint8(1))
	}
	dialects := []Dialect{DialectUnion, DialectHuawei, DialectOTC, DialectFlexibleEngine, DialectHuawei2020}
	f.Fuzz(func(t *testing.T, body []byte, choice uint8) {
		rules := Rules{Dialect: dialects[int(choice>>1)%len(dialects)], AcceptUnknownFields: choice&1 == 1}
		roundTrip(t, rules, body)
		if bytes.Contains(body, []byte(canary)) {
			return
		}
		password := `"password":"` + canary + `"`
		checkSilence(t, rules, []byte(strconv.Quote(canary)))
		if inside, ok := bytes.CutPrefix(bytes.TrimSpace(body), []byte("{")); ok {
			with := "{" + password + "," + string(inside)
			nested, _ := json.Marshal(with)
			for _, hiding := range []string{
				with, string(nested), `{"data":` + string(nested) + `,` + string(inside),
				`{"adminPwd":"` + canary + `","name":"` + canary + `",` + string(inside),
			} {
				roundTrip(t, rules, []byte(hiding))
				checkSilence(t, rules, []byte(hiding))
			}
		}
	})
}

func roundTrip(t *testing.T, rules Rules, body []byte) {
	spec, err := rules.Parse(body)
	public, ok := RedactBody(body)
	if ok && !json.Valid(public) {
		t.Errorf("the redacted body is not JSON: %q", public)
	}
	if err != nil {
		if found, ok := err.(Violations); !ok || len(found) == 0 {
			t.Errorf("error %#v names no violations", err)
		}
		return
	}
	if !ok || !json.Valid(spec.JSON) {
		t.Errorf("accepted, but not JSON: %q", spec.JSON)
	}
	sent, err := CreateBody(spec.JSON, spec.Password)
	if err != nil {
		t.Fatal(err)
	}
	again, err := rules.Parse(sent)
	if err != nil || again.Fingerprint("p") != spec.Fingerprint("p") || again.Password.Reveal() != spec.Password.Reveal() {
		t.Errorf("sent as %s: %v", sent, err)
	}
}
