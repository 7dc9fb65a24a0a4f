package provision

import "testing"

func TestChargeRules(t *testing.T) {
	info := func(fields string) []string { return []string{"charge_info={" + fields + "}"} }
	order := func(kind, num string) []string {
		return info(`"charge_mode":"prePaid","period_type":"` + kind + `","period_num":` + num)
	}
	checkRules(t, []ruleCase{
		{example: "single", edits: info(``)},
		{example: "single", edits: info(`"charge_mode":"postPaid"`)},
		{example: "single", edits: info(`"charge_mode":"prepaid"`), refused: "charge_info.charge_mode"},
		{example: "single", edits: info(`"charge_mode":"prePaid"`), refused: "charge_info.period_type charge_info.period_num"},
		{example: "single", edits: order("month", "1")},
		{example: "single", edits: order("month", "9")},
		{example: "single", edits: order("month", "0"), refused: "charge_info.period_num"},
		{example: "single", edits: order("month", "10"), refused: "charge_info.period_num"},
		{example: "single", edits: order("month", `"1"`), refused: "charge_info.period_num"},
		{example: "single", edits: order("year", "3")},
		{example: "single", edits: order("year", "4"), refused: "charge_info.period_num"},
		{example: "single", edits: order("week", "1"), refused: "charge_info.period_type"},
		{example: "single", edits: info(`"is_auto_renew":true,"is_auto_pay":false`)},
		{example: "single", edits: info(`"is_auto_renew":"true","is_auto_pay":null`), refused: "charge_info.is_auto_renew charge_info.is_auto_pay"},
		{example: "single", edits: []string{`charge_info="prePaid"`}, refused: "charge_info"},
		{dialect: DialectHuawei, example: "single", edits: order("year", "1")},
		{dialect: DialectOTC, example: "single", edits: order("year", "1"), refused: "charge_info"},
		{dialect: DialectFlexibleEngine, example: "single", edits: order("year", "1"), refused: "charge_info"},
		{dialect: DialectHuawei2020, example: "single", edits: order("year", "1"), refused: "charge_info"},
	})
}
