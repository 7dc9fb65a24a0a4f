package provision

import (
	"fmt"
	"strings"
	"testing"
)

func tag(key, value string) []string {
	return []string{fmt.Sprintf(`tags=[{"key":%q,"value":%q}]`, key, value)}
}

func TestTagRules(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	checkRules(t, []ruleCase{
		{example: "single", edits: []string{`tags=[]`}},
		{example: "single", edits: []string{`tags={}`}, refused: "tags"},
		{example: "single", edits: []string{`tags=[{}]`}, refused: "tags[0].key tags[0].value"},
		{example: "single", edits: []string{`tags=[{"key":"a","value":"b","colour":"c"}]`}, refused: "tags[0].colour"},
		{example: "single", edits: []string{`tags=[{"key":"a","value":"1"},{"key":"A","value":"1"}]`}},
		{example: "single", edits: []string{`tags=[{"key":"a","value":"1"},{"key":"a","value":"2"}]`}, refused: "tags[1]"},
		{example: "single", edits: tag("a", "")},
		{example: "single", edits: tag("", "a"), refused: "tags[0].key"},
		{example: "single", edits: tag(TagRequest, "a"), refused: "tags[0].key"},
		{example: "single", edits: tag(TagInstallation, "a"), refused: "tags[0].key"},
		{example: "single", edits: tag("_sys_a", "a"), refused: "tags[0].key"},
		{dialect: DialectOTC, example: "single", edits: tag("_sys_a", "a"), refused: "tags[0].key"},

		{example: "single", edits: tag(x(128), x(255))},
		{example: "single", edits: tag(x(129), x(256)), refused: "tags[0].key tags[0].value"},
		{example: "single", edits: tag("a b_.:/=+-@9", "数据 _.:/=+-@")},
		{example: "single", edits: tag("a,b", "a*b"), refused: "tags[0].key tags[0].value"},
		{example: "single", edits: tag("é", "\t"), refused: "tags[0].key tags[0].value"},

		{dialect: DialectHuawei, example: "single", edits: tag(strings.Repeat("数", 36), x(43))},
		{dialect: DialectHuawei, example: "single", edits: tag("a.b:c", "x/y@z")},
		{dialect: DialectHuawei, example: "single", edits: tag(x(37), x(44)), refused: "tags[0].key tags[0].value"},

		{dialect: DialectOTC, example: "single", edits: tag(x(36), x(43))},
		{dialect: DialectOTC, example: "single", edits: tag("数_-A9", "数_-A9")},
		{dialect: DialectOTC, example: "single", edits: tag(x(37), x(44)), refused: "tags[0].key tags[0].value"},
		{dialect: DialectOTC, example: "single", edits: tag("a.b", "a.b"), refused: "tags[0].key tags[0].value"},

		{dialect: DialectFlexibleEngine, example: "single", edits: tag("a", "b"), refused: "tags"},
		{dialect: DialectHuawei2020, example: "single", edits: tag("a", "b"), refused: "tags"},
	})
}

func TestTagCount(t *testing.T) {
	many := func(n int) []string {
		items := make([]string, n)
		for i := range items {
			items[i] = fmt.Sprintf(`{"key":"k%d","value":"v"}`, i)
		}
		return []string{"tags=[" + strings.Join(items, ",") + "]"}
	}
	checkRules(t, []ruleCase{
		{example: "single", edits: many(18)},
		{example: "single", edits: many(19), refused: "tags"},
	})
}
