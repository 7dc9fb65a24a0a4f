package provision

import (
	"strings"
	"testing"
)

func TestPortRule(t *testing.T) {
	with := func(dialect Dialect, refused string, ports ...string) (cases []ruleCase) {
		for _, p := range ports {
			cases = append(cases, ruleCase{dialect, "single", []string{"port=" + p}, refused})
		}
		return cases
	}
	checkRules(t, with(DialectUnion, "", `2100`, `"8635"`, `27017`, `"27019"`, `9501`, `65535`, `12016`))
	checkRules(t, with(DialectUnion, "port", `2099`, `"65536"`, `12017`, `33071`, `"08635"`, `8635.0`, `"8635 "`, `8e3`, `-8635`, `null`, `""`, `99999999999999999999`))
	for _, dialect := range []Dialect{DialectHuawei, DialectOTC} {
		checkRules(t, with(dialect, "", `2100`, `"9500"`, `27017`, `27018`, `"27019"`))
		checkRules(t, with(dialect, "port", `2099`, `9501`, `27016`, `27020`, `"65535"`))
	}
	for _, dialect := range []Dialect{DialectFlexibleEngine, DialectHuawei2020} {
		checkRules(t, with(dialect, "port", `8635`, `"8635"`))
	}
}

func TestPasswordRule(t *testing.T) {
	with := func(dialect Dialect, refused string, passwords ...string) (cases []ruleCase) {
		for _, p := range passwords {
			cases = append(cases, ruleCase{dialect, "single", []string{"password=" + p}, refused})
		}
		return cases
	}
	for _, dialect := range []Dialect{DialectUnion, DialectHuawei, DialectOTC, DialectFlexibleEngine, DialectHuawei2020} {
		checkRules(t, with(dialect, "", `"Test@123"`, `"aA0~!@#%^*-_=+?"`, `"`+strings.Repeat("aA1-", 8)+`"`))
		checkRules(t, with(dialect, "password", `"Tst@123"`, `"`+strings.Repeat("aA1-", 8)+`x"`, `"test@123"`, `"TEST@123"`,
			`"Test@abc"`, `"Test1234"`, `"Test@12 3"`, `"Test@123é"`, `"Test@123<"`, `""`, `12345678`, `null`))
	}
	checkRules(t, with(DialectUnion, "", `"Test()$1"`))
	checkRules(t, with(DialectHuawei, "password", `"Test()$1"`, `"Test@1$1"`))
	checkRules(t, with(DialectOTC, "password", `"Test()$1"`))
	for _, dialect := range []Dialect{DialectUnion, DialectHuawei, DialectOTC} {
		checkRules(t, with(dialect, "", ""))
	}
	for _, dialect := range []Dialect{DialectFlexibleEngine, DialectHuawei2020} {
		checkRules(t, with(dialect, "password", ""))
	}
}

func TestSealedPasswordRule(t *testing.T) {
	sealed := `sealed_password="-----BEGIN AGE ENCRYPTED FILE-----"`
	for _, dialect := range []Dialect{DialectUnion, DialectHuawei, DialectFlexibleEngine, DialectHuawei2020} {
		checkRules(t, []ruleCase{
			{dialect, "single", []string{"password=", sealed}, ""},
			{dialect, "single", []string{sealed}, "sealed_password"},
			{dialect, "single", []string{"password=", `sealed_password=""`}, "sealed_password"},
			{dialect, "single", []string{"password=", `sealed_password=7`}, "sealed_password"},
			{dialect, "single", []string{"password=", `sealed_password=null`}, "sealed_password"},
		})
	}
}

// A body that repeats its password elsewhere would keep that copy unsealed.
func TestThePasswordStandsInOnePlaceAlone(t *testing.T) {
	own := `password="C4nary~Pass-word"`
	for what, repeated := range map[string]string{
		"a tag":             `tags=[{"key":"owner","value":"is C4nary~Pass-word"}]`,
		"in base64":         `tags=[{"key":"owner","value":"QzRuYXJ5flBhc3Mtd29yZA"}]`,
		"an unknown field":  `note={"deep":["C4nary~Pass-word"]}`,
		"an unknown name":   `note={"C4nary~Pass-word":1}`,
		"in other letters":  `note="c4NARY~pASS-WORD"`,
		"a document inside": `note="{\"x\":\"C4nary~Pass-word\"}"`,
	} {
		_, err := Rules{AcceptUnknownFields: true}.Parse(edited(t, "single", own, repeated))
		if err == nil || !strings.Contains(err.Error(), "password") || !strings.Contains(err.Error(), "repeat") || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := (Rules{AcceptUnknownFields: true}).Parse(edited(t, "single", own, `note="nothing"`)); err != nil {
		t.Error(err)
	}
}

func TestSSLRule(t *testing.T) {
	checkRules(t, []ruleCase{
		{example: "single", edits: []string{`ssl_option="0"`}},
		{example: "single", edits: []string{`ssl_option="1"`}},
		{example: "single", edits: []string{`ssl_option=1`}, refused: "ssl_option"},
		{example: "single", edits: []string{`ssl_option=`}},
		{example: "single", edits: []string{`ssl_option="2"`}, refused: "ssl_option"},
		{example: "single", edits: []string{`ssl_option=true`}, refused: "ssl_option"},
		{example: "single", edits: []string{`ssl_option="on"`}, refused: "ssl_option"},
	})
}
